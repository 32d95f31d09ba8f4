/** Shows the current message. */

import { t } from "../core/language";
import { closeToast, holdToast, resumeToast, runToastAction, toast } from "../core/toasts";
import { IconButton } from "./controls";
import { Icon } from "./icon";

export function ToastView() {
  const current = toast.value;
  return (
    <div class="toasts" role="status" aria-live="polite">
      {current !== null && (
        <div
          key={current.id}
          class={current.isError ? "toast bad" : "toast"}
          onMouseEnter={holdToast}
          onMouseLeave={resumeToast}
          onFocusIn={holdToast}
          onFocusOut={resumeToast}
        >
          <Icon name={current.icon} />
          <span class="grow">{current.text}</span>
          {current.action !== null && (
            <button type="button" class="link" onClick={runToastAction}>
              {current.action.label}
            </button>
          )}
          {(current.isError || current.action !== null) && <IconButton icon="x" label={t.actions.close} isSmall onClick={closeToast} />}
        </div>
      )}
    </div>
  );
}
