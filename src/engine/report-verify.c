/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "modset.h"
#include "report.h"
#include "strbuf.h"
#include "tree.h"
#include "verify.h"

#include <fcntl.h>
#include <string.h>

struct verify {
	struct engine *en;
	enum store_kind kind;
	json_t *objects; /* owned */
	unsigned findings;
	struct err *e;
};

/* Both arrays are stolen; notes (may be NULL) are worth knowing and no finding. */
static int verify_row(struct verify *v, const char *object, const char *bad_word, json_t *problems,
		      json_t *notes)
{
	bool is_ok = json_array_size(problems) == 0;
	json_t *row = json_pack("{s:s,s:s,s:o}", "object", object, "result", is_ok ? "ok" : bad_word,
				"problems", problems);

	if (row && json_array_size(notes))
		(void)json_object_set(row, "notes", notes);
	json_decref(notes);
	v->findings += !is_ok;
	return !row || json_array_append_new(v->objects, row) < 0 ? err_oom(v->e) : 0;
}

static int package_verify_file(const struct tree_entry *entry, void *arg)
{
	char hex[SHA256_HEX_SIZE];
	const char **want = arg;

	if (!S_ISREG(entry->st.st_mode))
		return 0;
	if (sha256_file_at(entry->dirfd, entry->name, hex) < 0 || strcmp(hex, *want) != 0)
		*want = NULL;
	return *want ? 0 : -EBADMSG;
}

/* packages/<sha256>/<name>: the file's digest is the directory's name. */
static int package_verify(struct store *s, const char *id, json_t *problems)
{
	_cleanup_close_ int fd = store_object_open(s, STORE_PACKAGE, id);
	const char *want = id;
	int r = fd < 0 ? fd : tree_walk(fd, TREE_SORTED, package_verify_file, &want);

	if (r < 0 && json_array_append_new(problems, json_string("its digest is not its name")) < 0)
		return -ENOMEM;
	return 0;
}

static int verify_object(const char *id, void *arg)
{
	struct verify *v = arg;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *object = str_printf("%s/%s", store_kind_dir(v->kind), id);
	json_t *problems = json_array();
	int r = 0;

	if (!object || !problems)
		return err_oom(v->e);
	if (v->kind == STORE_TREE)
		r = store_tree_verify(v->en->store, id, STORE_VERIFY_FULL, problems, &e);
	else if (v->kind == STORE_MODULE)
		r = modset_verify(v->en->store, id, problems, &e);
	else
		r = package_verify(v->en->store, id, problems);
	/* An error without a listed problem (an unreadable record) is a finding as well. */
	if (r < 0 && json_array_size(problems) == 0)
		(void)json_array_append_new(problems, json_string(e.reason ? e.reason : err_sentence(r)));
	return verify_row(v, object, "damaged", problems, NULL);
}

static int problem_text(json_t *problems, const json_t *finding)
{
	const char *path = json_string_value(json_object_get(finding, "path"));
	const char *problem = json_string_value(json_object_get(finding, "problem"));
	const char *needs = json_string_value(json_object_get(finding, "needs"));
	_cleanup_free_ char *text =
	    needs ? str_printf("/%s: needs %s, which the loader does not find", path, needs)
		  : str_printf("/%s: %s", path, problem);

	return text && json_array_append_new(problems, json_string(text)) == 0 ? 0 : -ENOMEM;
}

/* Libraries the root itself would have to bring (X11, wayland, a C library in a bare directory) are no damage to the
 * driver: one note each, with how many files want it. */
static int notes_text(const json_t *wanted, json_t *notes)
{
	const char *name;
	json_t *count;

	json_object_foreach((json_t *)wanted, name, count)
	{
		_cleanup_free_ char *text =
		    str_printf("%s is not in this root; %d of the driver's files use it", name,
			       (int)json_integer_value(count));

		if (!text || json_array_append_new(notes, json_string(text)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int sort_findings(const json_t *found, json_t *problems, json_t *notes)
{
	json_t *wanted = json_object(), *finding;
	size_t i;
	int r = wanted ? 0 : -ENOMEM;

	json_array_foreach((json_t *)found, i, finding)
	{
		const char *needs = json_string_value(json_object_get(finding, "needs"));

		if (r < 0)
			break;
		if (!needs || json_is_true(json_object_get(finding, "own"))) {
			r = problem_text(problems, finding);
			continue;
		}
		r = json_object_set_new(wanted, needs,
					json_integer(json_integer_value(json_object_get(wanted, needs)) + 1));
	}
	if (r >= 0)
		r = notes_text(wanted, notes);
	json_decref(wanted);
	return r;
}

/* What is installed in the root, and whether its loader finds all that needs. */
static int verify_installation(struct verify *v)
{
	_cleanup_free_ char *object = str_printf("installation in %s", v->en->host->root);
	_cleanup_json_ json_t *found = json_array(), *problems = json_array(), *notes = json_array();
	int r = object && found && problems && notes ? 0 : err_oom(v->e);

	if (r >= 0)
		r = userspace_verify(v->en->host, found, NULL, v->e);
	if (r >= 0)
		r = userspace_check_resolves(v->en->host, found, v->e);
	if (r == -ERR_INSTALL_NOT_FOUND) {
		err_done(v->e);
		return 0;
	}
	if (r >= 0 && sort_findings(found, problems, notes) < 0)
		r = err_oom(v->e);
	return r < 0 ? r : verify_row(v, object, "differs", json_incref(problems), json_incref(notes));
}

int report_verify(struct engine *en, json_t **ret_objects, unsigned *ret_findings, struct err *e)
{
	static const enum store_kind kinds[] = { STORE_PACKAGE, STORE_TREE, STORE_MODULE };
	struct verify v = { .en = en, .objects = json_array(), .e = e };
	int r = v.objects ? 0 : err_oom(e);

	for (size_t i = 0; r == 0 && en->store && i < ARRAY_LEN(kinds); i++) {
		v.kind = kinds[i];
		r = store_list(en->store, kinds[i], verify_object, &v);
	}
	if (r == 0)
		r = verify_installation(&v);
	if (r < 0) {
		json_decref(v.objects);
		return r;
	}
	*ret_objects = v.objects;
	*ret_findings = v.findings;
	return 0;
}
