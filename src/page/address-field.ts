import { make } from './dom.js';
import { PAGE_BYTES } from './format.js';

/**
 * A field for an address in hexadecimal. `goTo` is called with the page of one that was entered,
 * and says whether there is such a page to see.
 */
export function addressField(goTo: (page: number) => boolean): HTMLInputElement {
  const field = make('input', {
    type: 'search',
    placeholder: 'address',
    'aria-label': 'Go to an address (hexadecimal)',
    spellcheck: 'false',
    size: 12,
  });
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    const address = /^(0x)?[0-9a-f]{1,13}$/i.test(field.value)
      ? Number.parseInt(field.value, 16)
      : Number.NaN;
    const isThere = goTo(Math.floor(address / PAGE_BYTES));
    field.setAttribute('aria-invalid', String(!isThere));
    field.title = isThere ? '' : `${field.value}: nothing was ever mapped there`;
  });
  return field;
}
