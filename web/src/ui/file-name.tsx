/** A file name that is shortened in its middle to the width it has. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { fitMiddle } from "../core/fit-middle";

let context: CanvasRenderingContext2D | null = null;

function measureIn(font: string): (text: string) => number {
  context ??= document.createElement("canvas").getContext("2d");
  return (text) => {
    if (context === null) return 0;
    context.font = font;
    return context.measureText(text).width;
  };
}

const callbacks = new WeakMap<Element, () => void>();
let observer: ResizeObserver | null = null;

/** Call back when the width of an element changes. One observer for all names of the page. */
function watchWidth(element: Element, callback: () => void): () => void {
  observer ??= new ResizeObserver((entries) => {
    for (const entry of entries) callbacks.get(entry.target)?.();
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
    const style = getComputedStyle(node);
    const measure = measureIn(`${style.fontWeight} ${style.fontSize} ${style.fontFamily}`);
    const fit = () => setShown(fitMiddle(name, node.clientWidth, measure));
    fit();
    return watchWidth(node, fit);
  }, [name]);
  const isShortened = shown !== name;
  return (
    <span class="fname" ref={element} title={name} {...(id === undefined ? {} : { id })}>
      <bdi aria-hidden={isShortened ? "true" : undefined}>{shown}</bdi>
      {isShortened && <span class="sr">{name}</span>}
    </span>
  );
}
