/** @file The size of a picture that a network reads, in pixels. Type only. */
export interface PictureShape {
  readonly height: number;
  readonly width: number;
}
