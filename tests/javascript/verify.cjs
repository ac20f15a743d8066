// Verifies one letter: node verify.cjs SECRET HEADERS BODY; prints what it says, or ends with 1.
const { Webhook } = require("standardwebhooks");

const [secret, headers, body] = process.argv.slice(2);
console.log(JSON.stringify(new Webhook(secret).verify(body, JSON.parse(headers))));
