/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-attach.h"

#include "fd.h"
#include "strbuf.h"
#include "vgpu-plan.h"
#include "vgpu-text.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define SLOTS	   16 /* hostpci0 to hostpci15 */
#define GUESTS	   "etc/pve/qemu-server"
#define NAMED_TYPE "nvidia-"

void attach_result_done(struct attach_result *r)
{
	free(r->name);
	strv_freep(&r->notes);
	*r = (struct attach_result){ 0 };
}

int attach_free_slot(struct span config)
{
	bool taken[SLOTS] = { false };
	struct span line;

	while (span_line(&config, &line)) {
		const char *colon = memchr(line.p, ':', line.len);
		uint64_t n;

		/* Snapshots follow, with places of their own. */
		if (line.len > 0 && line.p[0] == '[')
			break;
		if (span_starts(line, "hostpci") && colon &&
		    parse_u64((struct span){ line.p + 7, (size_t)(colon - line.p) - 7 }, SLOTS - 1, &n) == 0)
			taken[n] = true;
	}
	for (int i = 0; i < SLOTS; i++)
		if (!taken[i])
			return i;
	return -ENOSPC;
}

/* Is it this function, or one of that card? */
static bool is_of(const struct host *h, const char *address, const char *wanted)
{
	char path[64], target[PATH_MAX];
	const char *base;
	ssize_t n;

	if (!wanted || strcmp(address, wanted) == 0)
		return true;
	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/physfn", address);
	n = h->sys_fd < 0 ? -1 : readlinkat(h->sys_fd, path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	base = strrchr(target, '/');
	return strcmp(base ? base + 1 : target, wanted) == 0;
}

static bool is_type(const struct vgpu_type *t, const char *wanted)
{
	const char *number =
	    strncmp(wanted, NAMED_TYPE, strlen(NAMED_TYPE)) == 0 ? wanted + strlen(NAMED_TYPE) : wanted;
	uint64_t id;

	if (parse_u64(SPAN(number), UINT16_MAX, &id) == 0)
		return t->id == id;
	return strcmp(t->name, wanted) == 0;
}

/* The vendor's files list a type only while the function can make it; in use it lists none. */
static const struct vgpu_type *choose(const struct attach_request *q, const struct vgpu_types *types)
{
	for (size_t i = 0; i < types->n; i++) {
		const struct vgpu_type *t = &types->v[i];

		if (t->available != 0 && is_type(t, q->type) && is_of(q->en->host, t->address, q->function))
			return t;
	}
	return NULL;
}

static int no_such_type(const struct attach_request *q, const struct vgpu_types *types, struct err *e)
{
	bool known = false;

	for (size_t i = 0; i < types->n; i++)
		known |= is_type(&types->v[i], q->type);
	(void)err_set(e, ERR_VGPU_TYPE, known ? "no function%s%s has %s free" : "no function%s%s offers %s",
		      q->function ? " of " : "", q->function ? q->function : "", q->type);
	return err_object(e, "%s", q->type);
}

static int add_hints(const struct attach_request *q, const struct vgpu_type *t, struct attach_result *r)
{
	size_t n = strlen(t->name);
	char kind = n ? t->name[n - 1] : '\0';
	int result = 0;

	/* Of mediated devices; the vendor's files say themselves what still goes. */
	if (!t->vendor)
		result = vgpu_note(&r->notes,
				   "a card runs one type at a time: start only " NAMED_TYPE "%u on this one",
				   t->id);
	if (result >= 0 && kind == 'A')
		result =
		    vgpu_note(&r->notes, "%s is an A profile: those work in Windows guests only", t->name);
	if (result >= 0 && kind == 'Q' && q->is_unlock)
		result =
		    vgpu_note(&r->notes,
			      "if OpenGL is slow on this card: vgpu_type = \"NVS\" for [profile." NAMED_TYPE
			      "%u] in /etc/vgpu_unlock/profile_override.toml",
			      t->id);
	if (result >= 0)
		result = vgpu_note(&r->notes, "Proxmox VE makes the device when machine %s starts", q->guest);
	return result;
}

static int find_slot(const struct attach_request *q, struct err *e)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_free_ char *path = str_printf(GUESTS "/%s.conf", q->guest);
	uint64_t number;
	int r = path ? 0 : err_oom(e);

	if (r >= 0 && parse_u64(SPAN(q->guest), 999999999, &number) < 0)
		return err_set(e, ERR_USAGE, "%s is no number of a virtual machine", q->guest);
	if (r >= 0)
		r = text_files_read(&files, q->en->host, path, e);
	if (r >= 0 && files.n == 0) {
		(void)err_set(e, ERR_VGPU_GUEST, "there is no /%s", path);
		return err_object(e, "%s", q->guest);
	}
	if (r < 0)
		return r;
	r = attach_free_slot((struct span){ files.v[0].bytes, files.v[0].len });
	return r < 0 ? err_set(e, ERR_VGPU_GUEST, "machine %s has %d devices already", q->guest, SLOTS) : r;
}

static int add_command(const struct attach_request *q, const struct attach_result *r, struct plan *p)
{
	_cleanup_free_ char *option = str_printf("-hostpci%u", r->slot),
			    *slot = str_printf("hostpci%u", r->slot),
			    *value = q->mapping
					 ? str_printf("mapping=%s,mdev=" NAMED_TYPE "%u", q->mapping, r->type)
					 : str_printf("%s,mdev=" NAMED_TYPE "%u", r->function, r->type),
			    *what = str_printf("give machine %s a vGPU: " NAMED_TYPE "%u (%s)", q->guest,
					       r->type, r->name);

	if (!option || !slot || !value || !what)
		return -ENOMEM;
	return vgpu_add_command(p, WORDS("qm", "set", q->guest, option, value),
				WORDS("qm", "set", q->guest, "-delete", slot), VGPU_TOOL_TIMEOUT_S, false,
				what);
}

int attach_plan(const struct attach_request *q, struct attach_result *ret, struct plan **ret_plan,
		struct err *e)
{
	_cleanup_(attach_result_done) struct attach_result result = { 0 };
	_cleanup_(vgpu_types_done) struct vgpu_types types = { 0 };
	_cleanup_(plan_freep) struct plan *p = NULL;
	const struct vgpu_type *t;
	int r = vgpu_types_read(q->en->host, &types, e), slot;

	if (r < 0)
		return r;
	slot = find_slot(q, e);
	if (slot < 0)
		return slot;
	t = choose(q, &types);
	if (!t)
		return no_such_type(q, &types, e);
	result.slot = (unsigned)slot;
	result.type = t->id;
	if (!q->mapping)
		memcpy(result.function, t->address, sizeof(result.function));
	result.name = strdup(t->name);
	r = result.name && add_hints(q, t, &result) >= 0
		? vgpu_plan_new(q->en, "attach", "give a machine a vGPU", &p, e)
		: err_oom(e);
	if (r >= 0 && add_command(q, &result, p) < 0)
		r = err_oom(e);
	if (r < 0)
		return r;
	*ret = result;
	result = (struct attach_result){ 0 };
	*ret_plan = TAKE_PTR(p);
	return 0;
}
