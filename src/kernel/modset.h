/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Module sets in the store: modules/<key>/ holds *.ko, nv-linux.o, nv-modeset-linux.o, Module.symvers, build.log
 * and record.json. The record carries everything a lookup compares, so finding the set for a running kernel needs
 * no kernel tree, compiler or child process. Sets are indexed by refs modules/<driver>/<flavour>/<arch>/<release>/<key>. */

#include "err.h"
#include "modinfo.h"
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
	const char
	    *foreign_symvers_sha256; /* of the network driver's symbols; "" = built without; NULL = any */
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

/* Removes the oldest sets until `keep` are left, the build trees of kernels that have no set any more, and with them what nothing
 * uses (store_gc). What a pin, a target or another set names stays, and so do those asked for here, even beyond the number.
 * Killed on the way, a set may have lost its name; the next build for it finds it again. Returns how many are gone. */
struct modset_limit {
	unsigned keep; /* at least 1 */
	const char *key; /* this set stays; NULL = none */
	const char *driver, *release; /* and all of this driver for this kernel; NULL = none */
};
int modset_limit(struct store *s, const struct modset_limit *l, struct err *e);

/* Does the stage hold exactly the files the record lists? ERR_STORE_DAMAGED names the first difference. */
int modset_stage_check(const struct store_stage *st, const json_t *record, struct err *e);

/* Publish a staged set: digests of all files are added to `record` (borrowed, changed), record.json is written and the index ref set. */
int modset_publish(struct store_stage *st, json_t *record, const char *key, struct err *e);

/* What a record keeps of one module; new reference, NULL without memory. */
json_t *modset_module_entry(const char *file, const struct modinfo *m);

/* Sign every module of an unsigned set into a new set; nothing is compiled. key = sha256(unsigned key, certificate
 * fingerprint, hash). An existing one is a hit (*ret_hit). Signatures are verified against the certificate after writing. */
struct modset_signing {
	const char *
	    signatures; /* directory of <module>.ko.p7s, made elsewhere (modset_sign alone); NULL = signed here */
	const char *key_path; /* where there are none; PEM, DER or pkcs11: URI */
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

/* A package in the vendor's format becomes a set like one built here: found by prepare and load for the kernel whose banner
 * it carries. Everything is checked first: structure and CRCs of the package, the driver version, one vermagic for all
 * modules, a banner of that kernel, and for linked modules the CRC recorded where they were signed. Interface objects are
 * linked with the untouched core objects of the driver's tree. The record keeps where the set came from ("origin": sha256,
 * description and file of the package). An imported package is a hit (*ret_hit). */
struct modset_import {
	int dirfd; /* AT_FDCWD or a directory `path` is relative to */
	const char *path;
	const char *tree_id; /* the driver's tree in the store; needed for interface objects, may be NULL */
	const char *flavour; /* NULL = by the licence the modules name */
	const char
	    *patch_digest; /* recorded as what the lookup wants; a package does not say what went into it */
	char *const *modules; /* must be there (besides nvidia), strv or NULL */
	const char *
	    cert_path; /* signatures must be this certificate's, and every module must be signed; NULL = not checked */
	bool allow_unsigned; /* a link that differs from the signed one is kept without its signature */
	bool lenient; /* as in precompiled.h */
};
/* ERR_PRECOMPILED_*, ERR_MODULE_SOURCE, ERR_LINK_*, ERR_MODSIG_*, ERR_CMS_*. On failure the store is as it was. */
int modset_import(struct store *s, const struct modset_import *q, char ret_key[65], bool *ret_hit,
		  struct err *e);
