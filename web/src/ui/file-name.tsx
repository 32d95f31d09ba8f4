/** A file name that is shortened in its middle to the width it has. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { fitMiddle } from "../core/fit-middle";

let context: CanvasRenderingContext2D | null = null;
/** The font of names, the same everywhere. Read again after the window has changed, which may be a zoom. */
let font = "";
window.addEventListener("resize", () => {
  font = "";
});

function measureLike(element: Element): (text: string) => number {
  context ??= document.createElement("canvas").getContext("2d");
  if (font === "") {
    const style = getComputedStyle(element);
    font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  }
  if (context === null) return () => 0;
  context.font = font;
  const canvas = context;
  return (text) => canvas.measureText(text).width;
}

const callbacks = new WeakMap<Element, (width: number) => void>();
let observer: ResizeObserver | null = null;

/** Call back with the width of an element, at first and when it changes. One observer for all names of the page. */
function watchWidth(element: Element, callback: (width: number) => void): () => void {
  observer ??= new ResizeObserver((entries) => {
    for (const entry of entries) callbacks.get(entry.target)?.(entry.contentRect.width);
  });
  callbacks.set(element, callback);
  observer.observe(element);
  return () => {
    observer?.unobserve(element);
    callbacks.delete(element);
  };
}

export function FileName({ name, id }: { readonly name: string; readonly id?: string }) {
  const element = useRef<HTMLSpanElement>(null);
  const [shown, setShown] = useState(name);
  useLayoutEffect(() => {
    const node = element.current;
    if (node === null) return;
    // The observer reports before the first paint, when the layout is known anyway.
    return watchWidth(node, (width) => setShown(fitMiddle(name, width, measureLike(node))));
  }, [name]);
  const isShortened = shown !== name;
  return (
    <span class="fname" ref={element} title={name} {...(id === undefined ? {} : { id })}>
      <bdi aria-hidden={isShortened ? "true" : undefined}>{shown}</bdi>
      {isShortened && <span class="sr">{name}</span>}
    </span>
  );
}
