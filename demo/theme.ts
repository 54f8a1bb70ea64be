/** @file Light or dark: the system's choice until the visitor makes one, which is remembered. */
import { find } from './dom.js';

const KEY = 'darkroom.theme';

export function setUpTheme(): void {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const button = find('theme', HTMLButtonElement);
  const chosen = (): string | undefined => document.documentElement.dataset['theme'];
  const isDark = (): boolean => (chosen() === undefined ? system.matches : chosen() === 'dark');

  function show(): void {
    button.textContent = isDark() ? 'Daylight' : 'Safelight';
    button.setAttribute('aria-label', isDark() ? 'Switch to the light theme' : 'Switch to the dark theme');
  }

  const stored = localStorage.getItem(KEY);
  if (stored === 'light' || stored === 'dark') document.documentElement.dataset['theme'] = stored;
  button.addEventListener('click', () => {
    const next = isDark() ? 'light' : 'dark';
    document.documentElement.dataset['theme'] = next;
    localStorage.setItem(KEY, next);
    show();
  });
  system.addEventListener('change', show);
  show();
}
