/** The sign-in providers that are linked to the account. */

import type { SignInMethods } from "@we-upload/client";
import { useEffect } from "preact/hooks";
import { fmt } from "../core/language";
import { codeText, showProblem } from "../core/problems";
import { s } from "../core/screen-texts";
import { serverConfig } from "../core/server-config";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { Loaded, useLoaded } from "../ui/data-table";
import { showDialog } from "../ui/dialog-host";
import { FormDialog } from "../ui/form-dialog";
import { Icon } from "../ui/icon";
import { CurrentPassword, OneTimeCode, ownCredentials } from "./own-credentials";
import { Section } from "./section";
import { identities, loadSignInMethods, providerName, signInMethods, takeReturn } from "./sign-in-methods";

/** The section exists where the server has providers, or the account still has identities. */
export function SignInProviders() {
  const { error, load } = useLoaded<SignInMethods>(loadSignInMethods);
  const methods = signInMethods.value;
  useEffect(() => {
    const back = takeReturn("/settings#providers");
    if (back === null) return;
    if (back.assertion === null) return showToast(codeText(back.error ?? "") ?? s.identity.failed, { isError: true });
    if (back.purpose === "link") void link(back.assertion).then(load);
    else if (user.value?.has_second_factor) askCode(back.assertion);
    else void identities.prove({ assertion: back.assertion }).then(showProved, showProblem);
  }, []);
  const providers = serverConfig.value?.sign_in_providers ?? [];
  if (providers.length === 0 && methods?.identities.length === 0) return null;
  return (
    <Section id="providers">
      <Loaded value={methods} error={error} onRetry={load} skeletonCount={1}>
        {({ identities: linked }) => (
          <div class="card pad stack">
            <p class="soft">{s.identity.text}</p>
            {linked.length > 0 && (
              <ul class="list">
                {linked.map((identity) => (
                  <li key={identity.id}>
                    <span class="tile">
                      <Icon name="user" />
                    </span>
                    <div class="grow">
                      <p class="strong">{providerName(identity.provider)}</p>
                      <p class="hint">{[identity.email, s.identity.since(fmt.day(new Date(identity.created_at)))].filter(Boolean).join(" · ")}</p>
                    </div>
                    <button type="button" class="btn quiet small danger" aria-label={s.identity.unlinkOne(providerName(identity.provider))} onClick={() => confirmUnlink(identity.id, load)}>
                      {s.identity.unlink}
                    </button>
                  </li>
                ))}
              </ul>
            )}
            <div class="row wrap">
              {providers.map((provider) => (
                <button type="button" class="btn" key={provider.id} onClick={() => confirmLink(provider.id)}>
                  {s.identity.link(provider.name)}
                </button>
              ))}
            </div>
          </div>
        )}
      </Loaded>
    </Section>
  );
}

async function link(assertion: string): Promise<void> {
  try {
    const { provider } = await identities.link(assertion);
    showToast(s.identity.linked(providerName(provider)), { icon: "check" });
  } catch (cause) {
    showProblem(cause);
  }
}

/** Prove with the password. An account without one has proved itself at its provider before. */
async function prove(fields: FormData): Promise<void> {
  const proof = ownCredentials(fields);
  if (proof.current_password !== undefined) await identities.prove(proof);
}

function confirmLink(provider: string): void {
  const start = async (fields: FormData) => {
    await prove(fields);
    window.location.assign(identities.startUrl(provider, "link"));
  };
  const name = providerName(provider);
  showDialog((close) => (
    <FormDialog title={s.identity.link(name)} subtitle={s.identity.linkText} submit={s.identity.continueWith(name)} act={start} onClose={close}>
      <CurrentPassword isFirst />
      <OneTimeCode />
    </FormDialog>
  ));
}

function confirmUnlink(identityId: string, reload: () => void): void {
  const unlink = async (fields: FormData) => {
    await prove(fields);
    await identities.unlink(identityId);
    reload();
  };
  showDialog((close) => (
    <FormDialog title={s.identity.unlinkTitle} subtitle={s.identity.unlinkText} submit={s.identity.unlink} isDangerous act={unlink} onClose={close}>
      <CurrentPassword isFirst />
      <OneTimeCode />
    </FormDialog>
  ));
}

function askCode(assertion: string): void {
  const finish = async (fields: FormData) => {
    await identities.prove({ assertion, otp: String(fields.get("otp")) });
    showProved();
  };
  showDialog((close) => (
    <FormDialog title={s.identity.confirmTitle} submit={s.identity.confirm} act={finish} onClose={close}>
      <OneTimeCode />
    </FormDialog>
  ));
}

function showProved(): void {
  showToast(s.identity.proved, { icon: "check" });
}
