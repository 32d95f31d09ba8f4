/** Switches and segmented choices. */

import { useId } from "preact/hooks";

interface SwitchProps {
  readonly label: string;
  readonly isOn: boolean;
  readonly onChange: (isOn: boolean) => void;
  readonly id?: string;
  readonly disabled?: boolean;
}

export function Switch({ label, isOn, onChange, id, disabled = false }: SwitchProps) {
  return (
    <input
      class="switch"
      type="checkbox"
      role="switch"
      id={id}
      aria-label={id === undefined ? label : undefined}
      checked={isOn}
      disabled={disabled}
      onChange={(event) => onChange(event.currentTarget.checked)}
    />
  );
}

interface SegmentsProps<T extends string> {
  readonly label: string;
  readonly options: readonly (readonly [T, string])[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}

/** Up to five choices side by side, of which one holds. */
export function Segments<T extends string>({ label, options, value, onChange }: SegmentsProps<T>) {
  const name = useId();
  return (
    <fieldset class="seg">
      <legend class="sr">{label}</legend>
      {options.map(([option, text]) => (
        <label key={option}>
          <input type="radio" name={name} checked={option === value} onChange={() => onChange(option)} />
          {text}
        </label>
      ))}
    </fieldset>
  );
}
