/**
 * Making elements. Styles are set through `style`, never as attributes: the page's policy forbids
 * those.
 */

type Attributes = Readonly<Record<string, string | number | boolean>>;

/** An element with attributes (`false`: left out) and what it holds. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== false) node.setAttribute(name, value === true ? '' : String(value));
  node.append(...children);
  return node;
}

/** A section with a heading that names it. */
export function section(
  title: string,
  className: string,
  ...children: readonly (Node | string)[]
): HTMLElement {
  return make(
    'section',
    { class: className, 'aria-label': title },
    make('h2', {}, title),
    ...children,
  );
}

/** Sets a text only where it changed: an unchanged one costs no layout. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

export function button(label: string, title: string, press: () => void): HTMLButtonElement {
  const node = make('button', { type: 'button', title }, label);
  node.addEventListener('click', press);
  return node;
}
