/* creds_jwt: see creds_jwt.h. */
#include "backends/creds_jwt.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

void
jwt_base64url(struct buf *b, const void *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *in = p;
	uint32_t v;
	size_t i, k, have;

	for (i = 0; i < n; i += 3) {
		have = n - i < 3 ? n - i : 3;
		v = (uint32_t)in[i] << 16;
		if (have > 1)
			v |= (uint32_t)in[i + 1] << 8;
		if (have > 2)
			v |= in[i + 2];
		for (k = 0; k <= have; k++)
			buf_put_u8(b, (uint8_t)digits[v >> (18 - 6 * k) & 63]);
	}
}

/* No passphrase is asked for, least of all on the terminal. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	return 0;
}

static EVP_PKEY *
read_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = NULL;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (key != NULL && EVP_PKEY_base_id(key) != EVP_PKEY_RSA) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error();
	return key;
}

int
jwt_rs256(const void *p, size_t n, const char *key, struct buf *ret,
    struct why *why)
{
	EVP_PKEY *pkey = read_key(key);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char *sig = NULL;
	size_t nsig = 0;
	int err = -ENOMEM;

	if (pkey == NULL) {
		err = why_set(why, -EINVAL, "the private_key is no RSA key in "
		    "PEM: download the service account's key anew");
		goto out;
	}
	if (ctx == NULL ||
	    EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) != 1 ||
	    EVP_DigestSign(ctx, NULL, &nsig, p, n) != 1 ||
	    (sig = malloc(nsig)) == NULL ||
	    EVP_DigestSign(ctx, sig, &nsig, p, n) != 1)
		goto out;
	buf_put(ret, sig, nsig);
	err = buf_err(ret);
out:
	ERR_clear_error();
	free(sig);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	return err;
}

int
jwt_sign_rs256(const char *header, const char *claims, const char *key,
    struct buf *ret, struct why *why)
{
	struct buf text = BUF_INIT, sig = BUF_INIT;
	int err;

	jwt_base64url(&text, header, strlen(header));
	buf_puts(&text, ".");
	jwt_base64url(&text, claims, strlen(claims));
	err = buf_err(&text);
	if (err == 0)
		err = jwt_rs256(text.p, text.len, key, &sig, why);
	if (err == 0) {
		buf_put(ret, text.p, text.len);
		buf_puts(ret, ".");
		jwt_base64url(ret, sig.p, sig.len);
		err = buf_err(ret);
	}
	buf_done(&text);
	buf_done(&sig);
	return err;
}
