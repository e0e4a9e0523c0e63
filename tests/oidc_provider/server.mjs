// Runs oidc-provider on loopback for tests: `node server.mjs CONFIG`, a JSON file that holds the
// port, the clients, where they may be sent back to, and the file with the accounts. The login page
// takes any password.

import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));

// Read at each sign-in, so that a test can change what is known of somebody.
const accounts = () => JSON.parse(readFileSync(config.accounts, "utf8"));

const provider = new Provider(config.issuer, {
  clients: config.clients,
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  conformIdTokenClaims: config.emailInUserinfoOnly,
  cookies: { keys: ["only for tests"] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, ...accounts()[id] }),
  }),
  pkce: { methods: ["S256"], required: () => true },
});

// Yumen's callback holds an id that is not known before.
provider.Client.prototype.redirectUriAllowed = (uri) => uri.startsWith(config.redirects);

provider.listen(config.port, "127.0.0.1", () => console.log("ready"));
