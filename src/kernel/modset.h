/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Module sets in the store: modules/<key>/ holds *.ko, nv-linux.o, nv-modeset-linux.o, Module.symvers, build.log
 * and record.json. The record carries everything a lookup compares, so finding the set for a running kernel needs
 * no kernel tree, compiler or child process. Sets are indexed by refs modules/<driver>/<flavour>/<arch>/<release>/<key>. */

#include "err.h"
#include "store.h"

#include <jansson.h>
#include <stdbool.h>

#define MODSET_UNSIGNED "unsigned"

struct modset_want {
	const char *driver, *flavour, *release, *arch; /* required, but arch NULL = any */
	const char *patch_digest; /* patchset.digest; NULL = any */
	const char *certificate; /* sha256 fingerprint, MODSET_UNSIGNED, or NULL = any (signed preferred) */
	const char *hash; /* NULL = any */
	const char *vermagic; /* NULL = not compared */
	const char *banner; /* compared when the record knows one; NULL = not compared */
};

/* -ENOENT (silently) when there is none. *ret_record: json_decref. Nothing is verified yet. */
int modset_find(struct store *s, const struct modset_want *want, char ret_key[65], json_t **ret_record,
		struct err *e);
int modset_record(struct store *s, const char *key, json_t **ret_record, struct err *e);

/* Reads every byte and compares with the record: ERR_STORE_DAMAGED names the first difference; problems (may be
 * NULL) collects all as strings. Always done before a set is used. */
int modset_verify(struct store *s, const char *key, json_t *problems, struct err *e);

/* 1: the set is there, whole, and in the index (a run killed between publishing and indexing left that out); 0: it
 * is not there, or was damaged and has been taken out. The caller holds the set's lock. */
int modset_reuse(struct store *s, const char *key, struct err *e);

/* All records as an array of objects with "key" added; optional filters. */
int modset_list(struct store *s, const char *driver, const char *release, json_t **ret, struct err *e);

/* Does the stage hold exactly the files the record lists? ERR_STORE_DAMAGED names the first difference. */
int modset_stage_check(const struct store_stage *st, const json_t *record, struct err *e);

/* Publish a staged set: digests of all files are added to `record` (borrowed, changed), record.json is written and the index ref set. */
int modset_publish(struct store_stage *st, json_t *record, const char *key, struct err *e);

/* Sign every module of an unsigned set into a new set; nothing is compiled. key = sha256(unsigned key, certificate
 * fingerprint, hash). An existing one is a hit (*ret_hit). Signatures are verified against the certificate after writing. */
struct modset_signing {
	const char *key_path; /* PEM or pkcs11: URI */
	const char *cert_path; /* PEM or DER */
	const char *hash; /* "sha256" */
	int passphrase_fd; /* -1 = none */
};
int modset_sign(struct store *s, const char *unsigned_key, const struct modset_signing *how, char ret_key[65],
		bool *ret_hit, struct err *e);
/* Fingerprint of a certificate file, to look a signed set up before anything is signed. */
int modset_cert_fingerprint(const char *cert_path, char ret[65], struct err *e);

/* One vendor-format package with all modules of the set: nvidia-modules-<release>-<8 hex of the identity>, written
 * into the directory out_fd. The interface files are linked with the tree's untouched core objects to record the linked module's CRC; with
 * `how`, that link is signed and the detached signature kept too. *ret_name: caller frees. */
int modset_export(struct store *s, const char *key, int tree_fd, const struct modset_signing *how, int out_fd,
		  char **ret_name, struct err *e);
