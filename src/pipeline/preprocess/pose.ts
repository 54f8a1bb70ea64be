/** @file People → skeletons, by a ViTPose model that finds the joints of the person in a box. */
import type { WeightFile } from '../../assets/weights.js';
import { fail } from '../../base/errors.js';
import { VITPOSE_IO, vitPoseGraph } from '../../graphs/vitpose.js';
import type { RgbPicture } from '../../image/pixels.js';
import { cropTo, keypointsOf, widen, type Box, type Keypoint } from '../../image/preprocess/keypoints.js';
import { drawPeople, toPerson, WHOLE_BODY } from '../../image/preprocess/skeleton.js';
import { parseVitPoseConfig, type VitPoseConfig } from '../../models/configs/vitpose.js';
import type { Model } from '../../runtime/session.js';
import { fromDialect } from '../layout.js';
import { openNetwork, POSE, withModel, type NeuralContext } from './networks.js';
import { toInput } from './pictures.js';

/** Joints of a body in COCO's order. */
const BODY_JOINTS = 17;
/** ImageNet's, of 0…255. */
const NORMAL = {
  mean: [0.485, 0.456, 0.406].map((value) => 255 * value),
  std: [0.229, 0.224, 0.225].map((value) => 255 * value),
};

/**
 * The skeleton of the person that the picture shows, on black.
 * @param handsAndFace needs a network for whole bodies (133 joints)
 * @throws unsupportedPreProcessorType when the network has no joints of hands and face
 */
export async function openpose(
  picture: RgbPicture,
  handsAndFace: boolean,
  context: NeuralContext,
): Promise<RgbPicture> {
  const { runtime, signal } = context;
  const files = await openNetwork(POSE, context);
  const config = parseVitPoseConfig(await files.json('config.json'), `${files.name}/config.json`);
  const joints = files.weights.find('head.conv.bias')?.shape[0] ?? 0;
  checkJoints(joints, handsAndFace, files.name);
  const positions = await positionsOf(files.weights, config, signal);
  const graph = vitPoseGraph(config, joints, { dialect: runtime.dialect, dtype: 'float32' });
  const whole: Box = { x: 0, y: 0, width: picture.width, height: picture.height };
  const keypoints = await withModel(context, files.weights, graph, (model) =>
    findKeypoints(picture, whole, { config, positions, model, joints }, context),
  );
  const person = toPerson(handsAndFace ? keypoints : keypoints.slice(0, BODY_JOINTS));
  return drawPeople([person], picture.width, picture.height);
}

function checkJoints(joints: number, handsAndFace: boolean, where: string): void {
  if (joints !== BODY_JOINTS && joints !== WHOLE_BODY.joints) {
    throw fail(
      'unsupportedModel',
      `${where} finds ${joints} joints; expected COCO's ${BODY_JOINTS} or COCO-WholeBody's ${WHOLE_BODY.joints}.`,
    );
  }
  if (handsAndFace && joints !== WHOLE_BODY.joints) {
    throw fail(
      'unsupportedPreProcessorType',
      `${where} finds the ${joints} joints of bodies; hands and face were asked for.`,
      {
        parameter: 'includeHandsAndFaceOpenPose',
        type: 'boolean',
        hint: `Register a ViTPose of ${WHOLE_BODY.joints} joints (COCO-WholeBody): registerModel({ air: '${POSE.reference}', source }).`,
      },
    );
  }
}

interface PoseNetwork {
  readonly config: VitPoseConfig;
  readonly positions: Float32Array;
  readonly model: Model;
  readonly joints: number;
}

async function findKeypoints(
  picture: RgbPicture,
  person: Box,
  { config: { backbone, scaleFactor }, positions, model, joints }: PoseNetwork,
  { runtime: { dialect }, signal }: NeuralContext,
): Promise<readonly Keypoint[]> {
  const size = { width: backbone.imageWidth, height: backbone.imageHeight };
  const box = widen(person, size);
  const input = toInput(dialect, cropTo(picture, box, size), NORMAL);
  const outputs = await model.run({ [VITPOSE_IO.picture]: input, [VITPOSE_IO.positions]: positions }, signal);
  const heatmaps = fromDialect(dialect.layout, outputs[VITPOSE_IO.heatmaps] ?? new Float32Array(), joints);
  const grid = (pixels: number): number => scaleFactor * Math.floor(pixels / backbone.patchSize);
  return keypointsOf(heatmaps, { width: grid(size.width), height: grid(size.height) }, box);
}

/** The learned positions of the patches, with the class token's in each. */
async function positionsOf(
  weights: WeightFile,
  { backbone }: VitPoseConfig,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const { hiddenSize } = backbone;
  const table = await weights.read('backbone.embeddings.position_embeddings', 'float32', signal);
  return Float32Array.from(table.subarray(hiddenSize), (value, i) => value + (table[i % hiddenSize] ?? 0));
}
