// A certified OpenID provider for tests: node provider.mjs <port> <redirect URI> <redirect URI after a sign-out>. Everyone can sign in with any address and any password.

import { Provider } from "oidc-provider";

const [port, redirectUri, signedOutUri] = process.argv.slice(2);
const provider = new Provider(`http://localhost:${port}`, {
  clients: [
    {
      client_id: "we-upload",
      client_secret: "client-secret-of-the-tests",
      redirect_uris: [redirectUri],
      post_logout_redirect_uris: [signedOutUri],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  // The person is named by the address. Its part before the at sign tells whether the address is verified.
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: id, email_verified: !id.startsWith("unverified") }) }),
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  // Otherwise the address is only in the answer of the userinfo endpoint.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ["cookie-key-of-the-tests"] },
});
provider.listen(Number(port), "localhost", () => console.log("ready"));
