/** Menus on one native popover, so that a list of many rows has no menu in each of them. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icon";
import type { IconName } from "./icon-paths";

export interface MenuItem {
  readonly label: string;
  readonly run: () => void;
  readonly icon?: IconName;
  readonly shortcut?: string;
  readonly isDangerous?: boolean;
  /** Set for a choice among several: whether it is the one that holds. */
  readonly isChosen?: boolean;
}

interface OpenMenu {
  readonly button: HTMLElement;
  readonly label: string;
  readonly items: readonly MenuItem[];
}

const openMenu = signal<OpenMenu | null>(null);

interface MenuButtonProps {
  readonly label: string;
  readonly class: string;
  readonly items: () => readonly MenuItem[];
  readonly children: ComponentChildren;
  /** Whether the children show the label; otherwise it is the button's name and tooltip. */
  readonly isLabelShown?: boolean;
}

/** A button that opens a menu. Its items are made when it opens. */
export function MenuButton({ label, class: extra, items, children, isLabelShown = false }: MenuButtonProps) {
  const button = useRef<HTMLButtonElement>(null);
  const isOpen = openMenu.value !== null && openMenu.value.button === button.current;
  return (
    <button
      ref={button}
      type="button"
      class={extra}
      aria-haspopup="menu"
      aria-expanded={isOpen}
      {...(isLabelShown ? {} : { "aria-label": label, title: label })}
      // Before the browser closes an open popover: the second press on the button closes it and opens none.
      onPointerDown={() => {
        wasOpenAtPress = isOpen;
      }}
      onClick={(event) => {
        if (wasOpenAtPress) wasOpenAtPress = false;
        else openMenu.value = { button: event.currentTarget, label, items: items() };
      }}
    >
      {children}
    </button>
  );
}

let wasOpenAtPress = false;

function place(menu: HTMLElement, button: HTMLElement): void {
  const at = button.getBoundingClientRect();
  const isBelow = at.bottom + menu.offsetHeight + 8 < window.innerHeight || at.top < menu.offsetHeight;
  const isEnd = document.documentElement.dir === "rtl" ? at.right > menu.offsetWidth + 8 : at.left + menu.offsetWidth + 8 > window.innerWidth;
  menu.style.top = `${isBelow ? at.bottom + 4 : at.top - menu.offsetHeight - 4}px`;
  menu.style.left = `${Math.max(8, isEnd ? at.right - menu.offsetWidth : at.left)}px`;
}

const STEPS: Readonly<Record<string, (at: number, count: number) => number>> = {
  ArrowDown: (at, count) => (at + 1) % count,
  ArrowUp: (at, count) => (at - 1 + count) % count,
  Home: () => 0,
  End: (_, count) => count - 1,
};

function moveFocus(menu: HTMLElement, key: string): void {
  const items = [...menu.querySelectorAll<HTMLElement>("button")];
  const at = items.findIndex((item) => item === document.activeElement);
  items[STEPS[key]?.(at, items.length) ?? 0]?.focus();
}

/** The menu that is open. Once on the page. */
export function MenuView() {
  const menu = useRef<HTMLDivElement>(null);
  const current = openMenu.value;
  useEffect(() => {
    const node = menu.current;
    if (node === null || current === null) return;
    node.showPopover();
    place(node, current.button);
    (node.querySelector<HTMLElement>('[aria-checked="true"]') ?? node.querySelector("button"))?.focus();
    const close = () => node.hidePopover();
    window.addEventListener("scroll", close, { passive: true, once: true });
    return () => window.removeEventListener("scroll", close);
  }, [current]);
  const isChoice = current?.items.some((item) => item.isChosen !== undefined) ?? false;
  return (
    <section aria-label={current?.label}>
      <div
        ref={menu}
        popover="auto"
        class="menu"
        role="menu"
        aria-label={current?.label}
        onToggle={(event) => {
          if (event.newState === "closed") openMenu.value = null;
        }}
        onKeyDown={(event) => {
          if (menu.current === null) return;
          if (event.key === "Tab") menu.current.hidePopover();
          if (!(event.key in STEPS)) return;
          event.preventDefault();
          moveFocus(menu.current, event.key);
        }}
      >
        {current?.items.map((item) => (
          <button
            type="button"
            key={item.label}
            role={isChoice ? "menuitemradio" : "menuitem"}
            aria-checked={isChoice ? item.isChosen === true : undefined}
            class={item.isDangerous ? "bad" : ""}
            onClick={() => {
              menu.current?.hidePopover();
              current.button.focus();
              item.run();
            }}
          >
            {isChoice ? <Icon name="check" class={item.isChosen ? "" : "unseen"} /> : item.icon && <Icon name={item.icon} />}
            <span>{item.label}</span>
            {item.shortcut && <kbd aria-hidden="true">{item.shortcut}</kbd>}
          </button>
        ))}
      </div>
    </section>
  );
}
