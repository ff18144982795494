// An OpenID Connect provider (oidc-provider) that issues access tokens as JWTs, with an address in them.
//
// GET /test/rotate gives it another key in place of its own, GET /test/away?503 answers everything with that.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const modules = process.env.PRIXFIXE_NODE_MODULES;
const { Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

let number = 0;
let away = 0;
let answer;

function provider(issuer) {
    number += 1;
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = { ...privateKey.export({ format: 'jwk' }), kid: `key-${number}`, use: 'sig', alg: 'RS256' };
    return new Provider(issuer, {
        clients: [{
            client_id: 'ann',
            client_secret: 'secret',
            grant_types: ['client_credentials'],
            redirect_uris: [],
            response_types: [],
        }],
        jwks: { keys: [key] },
        extraTokenClaims: () => ({ email: 'ann@example.com', email_verified: true }),
        features: {
            devInteractions: { enabled: false },
            clientCredentials: { enabled: true },
            resourceIndicators: {
                enabled: true,
                getResourceServerInfo: (_, resource) => ({
                    scope: '',
                    audience: resource.replace('urn:', ''),
                    accessTokenFormat: 'jwt',
                    accessTokenTTL: 300,
                    jwt: { sign: { alg: 'RS256' } },
                }),
            },
        },
    });
}

const server = createServer((request, response) => {
    const { pathname, search } = new URL(request.url, 'http://localhost');
    if (pathname === '/test/rotate') {
        answer = provider(issuer).callback();
        response.end('rotated\n');
    } else if (pathname === '/test/away') {
        away = Number(search.slice(1));
        response.end('away\n');
    } else if (away) {
        response.statusCode = away;
        response.end();
    } else {
        answer(request, response);
    }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
answer = provider(issuer).callback();
console.log(issuer);
