/** Sign-in with identity providers. A module of its own, so that an app can load it when it is needed. */

import type * as api from "./api-types.js";
import type { Client } from "./client.js";
import type { SignInOptions } from "./session.js";

export type IdentityCalls = ReturnType<typeof identityCalls>;

export function identityCalls(client: Client) {
  const { http, accounts } = client;
  return {
    /** Where the browser has to navigate to, to sign in at a provider. It comes back with an assertion in the fragment. */
    startUrl: (provider: string, purpose: api.SignInPurpose = "sign_in") => `${http.baseUrl}/sign-in/${provider}?purpose=${purpose}`,
    /** Where the browser has to navigate to, to sign out at a provider that `offers_sign_out`. It comes back to the sign-in page. */
    signOutUrl: (provider: string) => `${http.baseUrl}/sign-in/${provider}?purpose=sign_out`,
    /** Sign in with the assertion, and return the account. Only in the browser that started the sign-in. */
    async signIn(assertion: string, { otp, keepAccount }: SignInOptions = {}): Promise<api.User> {
      await http.call("post", "/api/v1/session/assertion", {
        body: { assertion, ...(otp ? { otp } : {}), keep_account: keepAccount ?? false },
        headers: { "X-We-Upload-Session": "1" },
        isAnonymous: true,
      });
      const account = await accounts.restore();
      if (account === null) throw new Error("The session has ended");
      return account;
    },
    /** Whether the account has a password, and its linked identities. */
    methods: () => http.call("get", "/api/v1/users/me/identities"),
    /** Needs a proof in the same session. */
    link: (assertion: string) => http.call("post", "/api/v1/users/me/identities", { body: { assertion } }),
    /** Needs a proof in the same session. */
    unlink: (identityId: string) => http.call("delete", "/api/v1/users/me/identities/{identity_id}", { path: { identity_id: identityId } }),
    /** Prove by the password or an assertion who the user is. For five minutes, changes of the account need no password. */
    prove: (body: api.UserProof) => http.call("post", "/api/v1/users/me/proof", { body }),
  };
}
