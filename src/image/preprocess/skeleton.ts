/**
 * @file People as coloured skeletons: the guide that ControlNet's openpose models were trained with. The order of joints, the limbs and
 * their colours are that format's. Pure; imports only pictures.
 */
import type { RgbPicture } from '../pixels.js';
import { drawLine, fillDisc, fillEllipse, type Canvas, type Colour, type Point } from './draw.js';
import type { Keypoint } from './keypoints.js';

/** A joint that was found, in pixels; undefined where it was not. */
export type Joint = Point | undefined;

/** What is drawn of one person. */
export interface Person {
  /** 18: nose, neck, right shoulder, elbow, wrist, left ones, right hip, knee, ankle, left ones, right eye, left, right ear, left. */
  readonly body: readonly Joint[];
  /** 21 each: wrist, then four of each finger from the thumb on. */
  readonly hands: readonly (readonly Joint[])[];
  /** 68. */
  readonly face: readonly Joint[];
}

/** Joints less certain than this are left out. */
const MIN_SCORE = 0.3;

/** Index in COCO's order of each of the 18 joints; the neck is between the shoulders. */
const NECK = -1;
const FROM_COCO = [0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3] as const;
const [LEFT_SHOULDER, RIGHT_SHOULDER] = [5, 6] as const;

/** Where COCO-WholeBody has its parts, after the 17 of the body and 6 of the feet. */
export const WHOLE_BODY = { joints: 133, face: [23, 91], leftHand: [91, 112], rightHand: [112, 133] } as const;

/** Joints in the order of COCO (17) or COCO-WholeBody (133) → what is drawn of the person. */
export function toPerson(keypoints: readonly Keypoint[]): Person {
  const joints = keypoints.map(({ x, y, score }): Joint => (score > MIN_SCORE ? { x, y } : undefined));
  const [left, right] = [joints[LEFT_SHOULDER], joints[RIGHT_SHOULDER]];
  const neck = left && right && { x: (left.x + right.x) / 2, y: (left.y + right.y) / 2 };
  const whole = keypoints.length === WHOLE_BODY.joints;
  return {
    body: FROM_COCO.map((index) => (index === NECK ? neck : joints[index])),
    hands: whole ? [WHOLE_BODY.leftHand, WHOLE_BODY.rightHand].map((range) => joints.slice(...range)) : [],
    face: whole ? joints.slice(...WHOLE_BODY.face) : [],
  };
}

/** The two joints of each limb. */
const LIMBS = [
  [1, 2],
  [1, 5],
  [2, 3],
  [3, 4],
  [5, 6],
  [6, 7],
  [1, 8],
  [8, 9],
  [9, 10],
  [1, 11],
  [11, 12],
  [12, 13],
  [1, 0],
  [0, 14],
  [14, 16],
  [0, 15],
  [15, 17],
] as const;

/** Of limbs and joints, in their order: 18 hues around the circle in steps of 20°. */
const COLOURS: readonly Colour[] = [
  [255, 0, 0],
  [255, 85, 0],
  [255, 170, 0],
  [255, 255, 0],
  [170, 255, 0],
  [85, 255, 0],
  [0, 255, 0],
  [0, 255, 85],
  [0, 255, 170],
  [0, 255, 255],
  [0, 170, 255],
  [0, 85, 255],
  [0, 0, 255],
  [85, 0, 255],
  [170, 0, 255],
  [255, 0, 255],
  [255, 0, 170],
  [255, 0, 85],
];

/** Half the width of a limb, and the radius of a joint, in pixels. */
const STICK = 4;
/** Limbs are darker than joints by this factor. */
const LIMB_LIGHT = 0.6;

/** The bones of a hand: each finger from the wrist. */
const BONES = [0, 4, 8, 12, 16].flatMap((before) =>
  [0, 1, 2, 3].map((i) => [i === 0 ? 0 : before + i, before + i + 1] as const),
);
const HAND_JOINT: Colour = [0, 0, 255];
const FACE_POINT: Colour = [255, 255, 255];

/** All people on black. */
export function drawPeople(people: readonly Person[], width: number, height: number): RgbPicture {
  const canvas: Canvas = { width, height, rgb: new Uint8Array(3 * width * height) };
  LIMBS.forEach(([from, to], i) => {
    for (const { body } of people) drawLimb(canvas, body[from], body[to], COLOURS[i] ?? FACE_POINT);
  });
  COLOURS.forEach((colour, joint) => {
    for (const { body } of people) drawJoint(canvas, body[joint], STICK, colour);
  });
  for (const hand of people.flatMap(({ hands }) => hands)) drawHand(canvas, hand.map(withinTopLeft));
  for (const point of people.flatMap(({ face }) => face)) drawJoint(canvas, withinTopLeft(point), 3, FACE_POINT);
  return canvas;
}

/** An ellipse from joint to joint. */
function drawLimb(canvas: Canvas, a: Joint, b: Joint, colour: Colour): void {
  if (a === undefined || b === undefined) return;
  const centre = { x: Math.trunc((a.x + b.x) / 2), y: Math.trunc((a.y + b.y) / 2) };
  const half = Math.trunc(Math.hypot(a.x - b.x, a.y - b.y) / 2);
  const degrees = Math.trunc((Math.atan2(a.y - b.y, a.x - b.x) * 180) / Math.PI);
  const [red, green, blue] = colour;
  const dark: Colour = [red * LIMB_LIGHT, green * LIMB_LIGHT, blue * LIMB_LIGHT];
  fillEllipse(canvas, centre, { x: half, y: STICK }, degrees, dark);
}

function drawJoint(canvas: Canvas, joint: Joint, radius: number, colour: Colour): void {
  if (joint !== undefined) fillDisc(canvas, whole(joint), radius, colour);
}

function drawHand(canvas: Canvas, joints: readonly Joint[]): void {
  BONES.forEach(([from, to], i) => {
    const [a, b] = [joints[from], joints[to]];
    if (a !== undefined && b !== undefined) drawLine(canvas, whole(a), whole(b), 2, hue(i / BONES.length));
  });
  for (const joint of joints) drawJoint(canvas, joint, STICK, HAND_JOINT);
}

/** Points of hands and face on the first row or column, or beyond, count as not found in this format. */
function withinTopLeft(joint: Joint): Joint {
  return joint !== undefined && joint.x >= 1 && joint.y >= 1 ? joint : undefined;
}

const whole = ({ x, y }: Point): Point => ({ x: Math.trunc(x), y: Math.trunc(y) });

/** The full colour at `turn` of the circle (0 red, ⅓ green, ⅔ blue). */
function hue(turn: number): Colour {
  const channel = (offset: number): number => {
    const k = (offset + turn * 6) % 6;
    return Math.round(255 * (1 - Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}
