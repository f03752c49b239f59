/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-secureboot.h"

#include "digest.h"
#include "fd.h"
#include "path.h"
#include "spawn.h"
#include "strbuf.h"
#include "vgpu-text.h"
#include "vgpu-tools.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define DKMS_CONF "etc/dkms/framework.conf.d/nvidia-vgpu.conf"
#define HASH_FILE "run/nvdriver/mok-hash"
#define SUBJECT	  "/CN=Proxmox vGPU Module Signing/"
#define CERT_MAX  ((size_t)64 << 10)

const char *mok_state_word(enum mok_state s)
{
	static const char *const words[] = {
		[MOK_OFF] = "not needed: Secure Boot is off",
		[MOK_ENROLLED] = "enrolled",
		[MOK_PENDING] = "waiting to be confirmed in the firmware's menu at the next boot",
		[MOK_ABSENT] = "there is a key, and it is not enrolled",
		[MOK_NO_KEY] = "there is no key yet",
		[MOK_UNKNOWN] = "not known",
	};

	return words[s];
}

enum mok_state mok_test_key_parse(const char *text)
{
	static const struct {
		const char *text;
		enum mok_state state;
	} texts[] = {
		{ "is already in the enrollment request", MOK_PENDING },
		{ "is already enrolled", MOK_ENROLLED },
		{ "is not enrolled", MOK_ABSENT },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strstr(text, texts[i].text))
			return texts[i].state;
	return MOK_UNKNOWN;
}

/* The rest of a "SHA1 Fingerprint: aa:bb…" line against bare hex. */
static bool fingerprint_is(struct span line, const char *hex)
{
	const char *p = memmem(line.p, line.len, "ingerprint", 10), *end = line.p + line.len;

	p = p ? memchr(p, ' ', (size_t)(end - p)) : NULL;
	for (; p && p < end && *hex; p++) {
		if (*p == ' ' || *p == ':')
			continue;
		if (tolower((unsigned char)*p) != tolower((unsigned char)*hex))
			return false;
		hex++;
	}
	return p && !*hex;
}

bool mok_list_has(const char *text, const char *sha1_hex)
{
	struct span rest = SPAN(text), line;

	while (span_line(&rest, &line))
		if (fingerprint_is(line, sha1_hex))
			return true;
	return false;
}

static int cert_sha1(const struct vgpu_machine *m, char ret[41])
{
	_cleanup_close_ int fd = path_open_at(m->host->root_fd, MOK_CERT, O_RDONLY, 0, PATH_IN_ROOT);
	_cleanup_(digest_freep) struct digest *d = NULL;
	_cleanup_free_ char *der = NULL;
	uint8_t raw[20];
	size_t len = 0, n = 0;
	int r = fd < 0 ? fd : read_fd(fd, CERT_MAX, &der, &len);

	if (r >= 0)
		r = digest_new("sha1", &d);
	if (r >= 0)
		r = digest_update(d, der, len);
	if (r >= 0)
		r = digest_final(d, raw, sizeof(raw), &n);
	if (r >= 0)
		hex_encode(raw, n, ret);
	return r;
}

static int ask_mokutil(const struct vgpu_machine *m, enum mok_state *ret, struct err *e)
{
	_cleanup_(answer_done) struct answer test = { 0 }, list = { 0 };
	char sha1[41] = "";
	int r = TOOLS_ASK(m->host, &test, e, "mokutil", "--test-key", MOK_CERT);

	*ret = MOK_UNKNOWN;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	*ret = mok_test_key_parse(test.out);
	if (*ret != MOK_UNKNOWN)
		return 0;
	r = TOOLS_ASK(m->host, &list, e, "mokutil", "--list-enrolled");
	if (r == 0 && cert_sha1(m, sha1) >= 0)
		*ret = mok_list_has(list.out, sha1) ? MOK_ENROLLED : MOK_ABSENT;
	return r == -ENOENT ? 0 : r;
}

int mok_state_read(const struct vgpu_machine *m, enum mok_state *ret, struct err *e)
{
	*ret = MOK_OFF;
	if (m->secureboot.secure_boot != TRI_YES)
		return 0;
	*ret = MOK_NO_KEY;
	if (!path_exists(m->host->root_fd, &MOK_KEY[1]) || !path_exists(m->host->root_fd, &MOK_CERT[1]))
		return 0;
	return ask_mokutil(m, ret, e);
}

int mok_random_password(char ret[9])
{
	uint32_t n;

	if (getrandom(&n, sizeof(n), 0) != sizeof(n))
		return -errno;
	(void)snprintf(ret, 9, "%08u", n % 100000000u);
	return 0;
}

int mok_hash(const struct vgpu_machine *m, const char *password, char **ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("hashing the one-time password");
	_cleanup_close_ int in = memfd_create("password", MFD_CLOEXEC);
	int r = in < 0 ? -errno : write_all(in, password, strlen(password));

	if (r < 0 || lseek(in, 0, SEEK_SET) < 0)
		return err_errno(e, r < 0 ? r : -errno, "cannot pass the password on");
	spawn_argv(&s, "openssl", "passwd", "-6", "-stdin", NULL);
	s.stdin_fd = in;
	s.capture = true;
	r = tools_run(m->host, &s, e);
	if (r < 0)
		return r;
	*ret = str_printf(SPAN_FMT "\n", SPAN_ARG(span_trim(SPAN(s.out))));
	return *ret ? 0 : err_oom(e);
}

static int add_command(struct plan *p, json_t *argv, json_t *undo, const char *what, const char *sentence)
{
	return plan_add(p, &op_command,
			json_pack("{s:o, s:o, s:s, s:i}", "argv", argv, "undo_argv", undo, "what", what,
				  "timeout_s", 600),
			"%s", sentence);
}

static int add_key(struct plan *p)
{
	return add_command(p,
			   json_pack("[s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s]", "openssl",
				     "req", "-new", "-x509", "-newkey", "rsa:4096", "-sha256", "-nodes",
				     "-days", "3650", "-subj", SUBJECT, "-outform", "DER", "-keyout", MOK_KEY,
				     "-out", MOK_CERT),
			   json_pack("[s, s, s, s]", "rm", "-f", MOK_KEY, MOK_CERT), "making the signing key",
			   "make a key pair that signs the modules: " MOK_KEY);
}

static int add_dkms(const struct vgpu_machine *m, struct plan *p, struct err *e)
{
	static const char text[] = "mok_signing_key=" MOK_KEY "\nmok_certificate=" MOK_CERT "\n";
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	int r = text_files_read(&files, m->host, DKMS_CONF, e);

	if (r < 0)
		return r;
	r = text_edits_set(&edits, DKMS_CONF, text_files_find(&files, DKMS_CONF), SPAN(text),
			   "have DKMS sign every rebuild with it: /" DKMS_CONF);
	if (r >= 0)
		r = text_edits_to_plan(&edits, p);
	return r < 0 ? err_oom(e) : 0;
}

static int add_import(const struct vgpu_machine *m, struct plan *p, const char *hash, struct err *e)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	const char *bytes = hash ? hash : "(hash of the one-time password)\n";
	const struct text_file *old;
	int r = text_files_read(&files, m->host, HASH_FILE, e);

	if (r < 0)
		return r;
	old = text_files_find(&files, HASH_FILE);
	r = plan_add_edit(p, HASH_FILE, old ? old->bytes : NULL, old ? old->len : 0, bytes, strlen(bytes),
			  0600, "keep the one-time password's hash until the reboot");
	if (r >= 0)
		r = add_command(p,
				json_pack("[s, s, s, s, s]", "mokutil", "--import", MOK_CERT, "--hash-file",
					  "/" HASH_FILE),
				json_pack("[s, s]", "mokutil", "--revoke-import"), "queueing the key",
				"queue the key for the firmware's menu at the next boot");
	return r < 0 ? err_oom(e) : 0;
}

int mok_add_ops(const struct vgpu_machine *m, enum mok_state state, const char *hash, struct plan *p,
		struct err *e)
{
	int r = 0;

	if (state == MOK_OFF)
		return 0;
	if (state == MOK_NO_KEY && add_key(p) < 0)
		return err_oom(e);
	r = add_dkms(m, p, e);
	if (r >= 0 && (state == MOK_NO_KEY || state == MOK_ABSENT))
		r = add_import(m, p, hash, e);
	return r;
}
