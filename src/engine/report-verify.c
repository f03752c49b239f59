/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"
#include "fd.h"
#include "install.h"
#include "jutil.h"
#include "modset.h"
#include "parallel.h"
#include "record.h"
#include "report.h"
#include "strbuf.h"
#include "tree.h"
#include "verify.h"

#include <fcntl.h>
#include <string.h>

struct verify {
	struct engine *en;
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

	/* .meta: where the package came from. */
	if (!S_ISREG(entry->st.st_mode) || entry->name[0] == '.')
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

/* One object of the store. Its row is made afterwards, in order. */
struct checked {
	enum store_kind kind;
	char *id; /* owned */
	json_t *problems; /* owned until the row takes it */
};

struct checks {
	struct engine *en;
	enum store_kind kind; /* being listed */
	struct checked *v; /* owned */
	size_t n;
};

static void checks_done(struct checks *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->v[i].id);
		json_decref(c->v[i].problems);
	}
	free(c->v);
}

static int checks_add(const char *id, void *arg)
{
	struct checks *c = arg;
	struct checked *v;

	/* A record comes before its image and goes after it: an interrupted run may leave it alone. */
	if (c->kind == STORE_IMAGE && !store_has(c->en->store, STORE_IMAGE, id))
		return 0;
	v = reallocarray(c->v, c->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	c->v = v;
	v[c->n] = (struct checked){ c->kind, strdup(id), json_array() };
	c->n++;
	return v[c->n - 1].id && v[c->n - 1].problems ? 0 : -ENOMEM;
}

static int check_object(size_t i, void *arg)
{
	const struct checks *c = arg;
	const struct checked *o = &c->v[i];
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r;

	if (o->kind == STORE_TREE)
		r = store_tree_verify(c->en->store, o->id, STORE_VERIFY_FULL, o->problems, &e);
	else if (o->kind == STORE_IMAGE)
		r = store_image_open(c->en->store, o->id, NULL, &e);
	else if (o->kind == STORE_MODULE)
		r = modset_verify(c->en->store, o->id, o->problems, &e);
	else
		r = package_verify(c->en->store, o->id, o->problems);
	/* An error without a listed problem (an unreadable record) is a finding as well. */
	if (r < 0 && json_array_size(o->problems) == 0)
		(void)json_array_append_new(o->problems, json_string(e.reason ? e.reason : err_sentence(r)));
	return r == -ENOMEM ? r : 0;
}

static int verify_store(struct verify *v)
{
	/* Trees first: they take longest and share their work among the processors themselves. */
	static const enum store_kind kinds[] = { STORE_TREE, STORE_IMAGE, STORE_MODULE, STORE_PACKAGE };
	_cleanup_(checks_done) struct checks c = { .en = v->en };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(kinds); i++) {
		c.kind = kinds[i];
		r = store_list(v->en->store, kinds[i], checks_add, &c);
	}
	if (r == 0)
		r = parallel_for(c.n, check_object, &c);
	if (r < 0)
		return err_errno(v->e, r, "cannot verify store %s", v->en->store->path);
	for (size_t i = 0; r == 0 && i < c.n; i++) {
		_cleanup_free_ char *object = str_printf("%s/%s", store_kind_dir(c.v[i].kind), c.v[i].id);

		r = object ? verify_row(v, object, "damaged", TAKE_PTR(c.v[i].problems), NULL)
			   : err_oom(v->e);
	}
	return r;
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
 * driver: one note for all, with how many files want each. */
static int notes_text(json_t *wanted, json_t *notes)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	const char *name;
	json_t *count;

	json_object_foreach (wanted, name, count)
		(void)strbuf_printf(
		    &text, "%s%s (%d)",
		    text.len ? ", " : "libraries this root does not have, and how many files use them: ",
		    name, (int)json_integer_value(count));
	if (strbuf_error(&text) < 0 ||
	    (text.len && json_array_append_new(notes, json_string(strbuf_str(&text))) < 0))
		return -ENOMEM;
	return 0;
}

static int sort_findings(const json_t *found, json_t *problems, json_t *notes)
{
	json_t *wanted = json_object(), *finding;
	size_t i;
	int r = wanted ? 0 : -ENOMEM;

	json_array_foreach ((json_t *)found, i, finding) {
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

/* The record the store keeps of the deployment that is in the root now; NULL when it has none. Borrowed from list. */
static const json_t *deployed_record(const json_t *list)
{
	const json_t *item, *found = NULL;
	json_int_t newest = -1;
	size_t i;

	json_array_foreach ((json_t *)list, i, item) {
		const json_t *meta = json_object_get(item, "meta");
		const char *kind = json_string_value(json_object_get(meta, "kind"));
		const char *state = json_string_value(json_object_get(item, "state"));
		json_int_t sequence = json_integer_value(json_object_get(item, "sequence"));

		if (!kind || strcmp(kind, "userspace") != 0 || !state || strcmp(state, "applied") != 0 ||
		    sequence <= newest)
			continue;
		newest = sequence;
		found = json_object_get(meta, "record");
	}
	return found;
}

/* Whoever can change the root's files can change the record beside them; the store has its own copy. record NULL: the
 * root has none. */
static int compare_records(struct verify *v, const json_t *record, json_t *problems)
{
	_cleanup_free_ char *target = NULL;
	_cleanup_json_ json_t *list = NULL;
	const char *text = NULL;
	const json_t *kept;
	int r;

	if (!v->en->store)
		return 0;
	r = userspace_target_name(v->en->host, &target, v->e);
	if (r >= 0)
		r = plan_history(&v->en->state, target, &list, v->e);
	if (r < 0)
		return r;
	kept = deployed_record(list);
	if (kept && !record)
		text = "/" USERSPACE_RECORD ": missing, the store has a record of this installation";
	else if (kept && !json_equal(kept, record))
		text = "/" USERSPACE_RECORD ": differs from the record the store keeps of this installation";
	return text && json_array_append_new(problems, json_string(text)) < 0 ? err_oom(v->e) : 0;
}

/* What is installed in the root, and whether its loader finds all that needs. */
static int verify_installation(struct verify *v)
{
	_cleanup_free_ char *object = str_printf("installation in %s", v->en->host->root);
	_cleanup_json_ json_t *found = json_array(), *problems = json_array(), *notes = json_array();
	_cleanup_json_ json_t *record = NULL;
	int r = object && found && problems && notes ? 0 : err_oom(v->e);

	if (r >= 0)
		r = userspace_verify(v->en->host, found, &record, v->e);
	if (r >= 0)
		r = userspace_check_resolves(v->en->host, found, v->e);
	if (r == -ERR_INSTALL_NOT_FOUND) {
		err_done(v->e);
		r = compare_records(v, NULL, problems);
		if (r < 0 || json_array_size(problems) == 0)
			return r;
		return verify_row(v, object, "differs", json_incref(problems), NULL);
	}
	if (r >= 0)
		r = compare_records(v, record, problems);
	if (r >= 0 && sort_findings(found, problems, notes) < 0)
		r = err_oom(v->e);
	return r < 0 ? r : verify_row(v, object, "differs", json_incref(problems), json_incref(notes));
}

int report_verify(struct engine *en, json_t **ret_objects, unsigned *ret_findings, struct err *e)
{
	struct verify v = { .en = en, .objects = json_array(), .e = e };
	int r = v.objects ? 0 : err_oom(e);

	if (r == 0 && en->store)
		r = verify_store(&v);
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
