/** @file A slider beside a number field: each follows the other. */

export function linkSlider(slider: HTMLInputElement, number: HTMLInputElement): void {
  const follow = (): void => {
    if (number.value !== '') slider.value = number.value;
  };
  slider.addEventListener('input', () => (number.value = slider.value));
  number.addEventListener('input', follow);
  follow();
}
