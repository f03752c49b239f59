/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-boot.h"

#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "kmods.h"
#include "log.h"
#include "lxc-enter.h"
#include "lxc-current.h"
#include "lxc-live.h"
#include "lxc-state.h"
#include "lxc-verify.h"
#include "lxc-workflow.h"
#include "modload.h"
#include "path.h"
#include "plan.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNITS	    "etc/systemd/system/"
#define UNIT_PATH   UNITS LXC_BOOT_UNIT
#define WANTS	    UNITS "multi-user.target.wants/" LXC_BOOT_UNIT
#define RULES_PATH  "etc/udev/rules.d/" LXC_WATCH_RULES
#define UNIT_MAX    ((size_t)64 << 10)
#define UVM_WAIT_MS 10000
#define MANAGERS    "pve-guests.service lxc.service incus.service lxd.service"

/* -- the unit -- */

/* One argument of ExecStart: systemd takes quotes, backslashes, $ and % for itself. */
static void argument(struct strbuf *out, const char *s)
{
	(void)strbuf_puts(out, " \"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			(void)strbuf_putc(out, '\\');
		else if (*s == '%' || *s == '$')
			(void)strbuf_putc(out, *s);
		(void)strbuf_putc(out, *s);
	}
	(void)strbuf_putc(out, '"');
}

static void exec_start(const char *program, const char *words, const char *store, struct strbuf *out)
{
	(void)strbuf_printf(out, "ExecStart=%s %s", program, words);
	if (store) {
		(void)strbuf_puts(out, " --store");
		argument(out, store);
	}
	(void)strbuf_putc(out, '\n');
}

int lxc_boot_unit_text(const char *program, const char *store, struct strbuf *out)
{
	(void)strbuf_puts(out,
			  "# Written by nvdriver lxc install; taken away with the last container.\n"
			  "[Unit]\n"
			  "Description=NVIDIA device nodes and driver for containers\n"
			  "Documentation=man:nvdriver-lxc(8)\n"
			  "After=local-fs.target systemd-modules-load.service systemd-tmpfiles-setup.service "
			  "nvdriver-recover.service pve-cluster.service\n"
			  "Before=" MANAGERS "\n"
			  "\n"
			  "[Service]\n"
			  "Type=oneshot\n"
			  "RemainAfterExit=yes\n"
			  "TimeoutStartSec=300\n");
	exec_start(program, "lxc sync --boot", store, out);
	(void)strbuf_puts(out, "\n[Install]\nWantedBy=multi-user.target\n");
	return strbuf_error(out);
}

int lxc_watch_unit_text(const char *program, const char *store, struct strbuf *out)
{
	(void)strbuf_puts(out, "# Written by nvdriver lxc install; taken away with the last container.\n"
			       "[Unit]\n"
			       "Description=The host's new NVIDIA driver for containers\n"
			       "Documentation=man:nvdriver-lxc(8)\n"
			       "After=" LXC_BOOT_UNIT " " MANAGERS "\n"
			       "\n"
			       "[Service]\n"
			       "Type=oneshot\n"
			       "TimeoutStartSec=3600\n");
	exec_start(program, "lxc sync --wait", store, out);
	return strbuf_error(out);
}

/* Files of the kernel's own file systems are changed without anybody who watches files being told; a module that is loaded is
 * announced. systemd starts what a device wants, and asks for no program that would wait in udev. */
const char lxc_watch_rules[] =
    "# Written by nvdriver lxc install; taken away with the last container.\n"
    "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nvidia|nvidia_uvm\", TAG+=\"systemd\", "
    "ENV{SYSTEMD_WANTS}+=\"" LXC_WATCH_UNIT "\"\n";

bool lxc_boot_unit_is_known(struct span text)
{
	struct span line;

	while (span_line(&text, &line)) {
		_cleanup_free_ char *one = span_dup(span_trim(line));

		if (one && strncmp(one, "ExecStart=", 10) == 0)
			return strstr(one, "lxc sync --boot") || strstr(one, "nvidia-smi");
	}
	return false;
}

static int unit_wanted(const struct lxc *x,
		       int (*text)(const char *program, const char *store, struct strbuf *out),
		       struct strbuf *out, struct err *e)
{
	const char *store = x->en->store ? x->en->store->path : NULL;
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	program[n < 0 ? 0 : n] = '\0';
	/* Not every systemd takes quotes around the program itself. */
	if (n <= 0 || strpbrk(program, " \t\"'\\$%;"))
		snprintf(program, sizeof(program), "/usr/bin/nvdriver");
	if (store && strcmp(store, "/var/lib/nvdriver") == 0)
		store = NULL;
	return text(program, store, out) < 0 ? err_oom(e) : 0;
}

static bool is_foreign(const struct lxc *x)
{
	_cleanup_close_ int fd =
	    path_open_at(x->en->host->root_fd, UNIT_PATH, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_free_ char *text = NULL;
	size_t len;

	return fd >= 0 && read_fd(fd, UNIT_MAX, &text, &len) >= 0 &&
	       !lxc_boot_unit_is_known((struct span){ text, len });
}

static int entry_add(json_t *entries, const char *path, const char *text)
{
	return json_array_append_new(
	    entries, json_pack("{s:s, s:s, s:i, s:o, s:b}", "path", path, "type", "file", "mode", 0644,
			       "bytes_base64", jbytes((const uint8_t *)text, strlen(text)), "keep_owner", 0));
}

/* A machine without udev has no announcements. */
static int watch_add(const struct lxc *x, json_t *entries, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(UNIT_MAX);
	int r;

	if (!path_exists(x->en->host->root_fd, "etc/udev"))
		return 0;
	r = unit_wanted(x, lxc_watch_unit_text, &text, e);
	if (r < 0)
		return r;
	return entry_add(entries, UNITS LXC_WATCH_UNIT, strbuf_str(&text)) < 0 ||
		       entry_add(entries, RULES_PATH, lxc_watch_rules) < 0
		   ? err_oom(e)
		   : 0;
}

static int unit_entries(const struct lxc *x, json_t *entries, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(UNIT_MAX);
	int r = unit_wanted(x, lxc_boot_unit_text, &text, e);

	if (r < 0)
		return r;
	if (entry_add(entries, UNIT_PATH, strbuf_str(&text)) < 0 ||
	    json_array_append_new(entries, json_pack("{s:s, s:s, s:s}", "path", WANTS, "type", "link",
						     "target", "/" UNIT_PATH)) < 0)
		return err_oom(e);
	return watch_add(x, entries, e);
}

static int unit_plan(const struct lxc *x, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_json_ json_t *entries = json_array();
	json_t *args = NULL;
	int r = entries ? unit_entries(x, entries, e) : err_oom(e);

	if (r < 0)
		return r;
	args = json_pack("{s:O}", "entries", entries);
	if (!args || plan_new("devices before containers start", LXC_BOOT_TARGET, &p) < 0 ||
	    plan_add(p, &op_files, args, "make devices and driver ready before containers start (%s)",
		     LXC_BOOT_UNIT) < 0)
		return err_oom(e);
	*ret = TAKE_PTR(p);
	return 0;
}

int lxc_boot_unit_install(const struct lxc *x, struct strbuf *text, struct err *e)
{
	const struct engine *en = x->en;
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r;

	if (!path_exists(en->host->root_fd, "etc/systemd/system"))
		return 0;
	if (is_foreign(x)) {
		log_warn("/" UNIT_PATH
			 " is not ours and is left as it is: after a boot run nvdriver lxc sync --boot "
			 "before containers start");
		return 0;
	}
	r = unit_plan(x, &p, e);
	if (r >= 0)
		r = plan_check(p, en->host, e);
	if (r != 0)
		return r < 0 ? r : 0;
	if (en->dry_run)
		return text && plan_to_text(p, en->host, text) < 0 ? err_oom(e) : 0;
	r = plan_apply(p, &en->state, en->host, en->lock_timeout_s, NULL, e);
	return r < 0 ? r : 0;
}

int lxc_boot_unit_remove(const struct lxc *x, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf show = STRBUF_INIT(STRBUF_TEXT_MAX);
	int r;

	do {
		_cleanup_(err_done) struct err own = ERR_INIT;

		r = plan_undo(&x->en->state, LXC_BOOT_TARGET, NULL, true, x->en->dry_run, &show, &own);
		if (r < 0 && r != -ERR_UNDO_NOTHING)
			err_move(e, &own);
	} while (r >= 0 && !x->en->dry_run);
	return r == -ERR_UNDO_NOTHING || r >= 0 ? 0 : r;
}

/* -- at boot -- */

/* What nvidia-modprobe would load for the nodes, where that is not there. A driver that is not in the kernel's own
 * directory was loaded by `nvdriver load` or will be. */
static void modules_load(const struct lxc *x)
{
	static const char *const names[] = { "nvidia", "nvidia-uvm" };
	struct modload_ops ops;
	_cleanup_free_ char *release = NULL;

	if (!x->en->host->is_running || host_kernel_release(x->en->host, &release) < 0 ||
	    modload_ops_real(x->en->host, release, &ops, NULL) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int r = ops.insert_kernel(ops.arg, names[i]);

		if (r < 0 && r != -EEXIST)
			log_debug("module %s: %s", names[i], strerror(-r));
	}
	modload_ops_done(&ops);
}

static int facts_again(struct lxc *x, struct err *e)
{
	struct lxc_host now = { 0 };
	int r = lxc_host_read(x->en->host, &now, e);

	if (r < 0)
		return r;
	lxc_host_done(&x->host);
	x->host = now;
	return 0;
}

/* Between the announcement of a module and its being there lies its own start. */
static bool is_starting(const struct host *h)
{
	_cleanup_free_ char *state = NULL;

	return kmod_attr(h, "nvidia", "initstate", &state) == 0 && strcmp(state, "live") != 0;
}

static bool has_uvm(const struct host *h)
{
	_cleanup_free_ char *text = NULL;
	unsigned major;
	size_t len;

	return read_file_at(h->proc_fd, "devices", UNIT_MAX, &text, &len) >= 0 &&
	       lxc_devices_major((struct span){ text, len }, "nvidia-uvm", &major) >= 0;
}

int lxc_driver_wait(struct lxc *x, struct err *e)
{
	const struct host *h = x->en->host;
	const struct lxc_settings *set = x->set;
	unsigned polls = set->node_poll_ms ? set->node_wait_s * 1000 / set->node_poll_ms : 0;
	int r = facts_again(x, e);

	/* Its second module comes right after it or, with some, only when it is asked for. */
	for (unsigned i = 0;
	     r >= 0 && i < polls &&
	     (is_starting(h) || (x->host.version && !has_uvm(h) && i * set->node_poll_ms < UVM_WAIT_MS));
	     i++)
		r = interrupt_sleep(set->node_poll_ms) ? interrupt_check(e) : facts_again(x, e);
	return r < 0 ? r : x->host.version != NULL;
}

/* The shared directory as of the host's version. Nothing is fetched: there may be no network yet. */
static int live_ready(const struct lxc *x, char **ret_name, struct err *e)
{
	const struct lxc_ct_config none = { 0 };
	_cleanup_free_ char *name = NULL;
	char view_id[65];
	int r = lxc_live_prepare(x, &none, x->host.version, lxc_record_extras(x, NULL), view_id, e);

	if (r >= 0)
		r = lxc_current_mount(x, x->host.version, view_id, &name, e);
	if (r >= 0)
		/* Not lxc_current_set(): it asks the manager, which waits for the very hook this may be. */
		r = lxc_live_switch(x, name, e);
	if (r >= 0)
		r = lxc_live_lock(x, e);
	if (r < 0)
		return r;
	*ret_name = TAKE_PTR(name);
	return 0;
}

static const char *record_text(const json_t *record, const char *key)
{
	return json_string_value(json_object_get(record, key));
}

/* A container with files of its own cannot be given others before it runs. */
static void stale_warn(const struct lxc *x, char *const *ids)
{
	for (; ids && *ids; ids++) {
		_cleanup_free_ char *target = str_printf("lxc-%s", *ids);
		_cleanup_json_ json_t *record = NULL;
		const char *version;

		if (!target || lxc_record_read(x, target, &record, NULL) < 0 || !lxc_record_has_files(record))
			continue;
		version = record_text(record, "version");
		if (version && strcmp(version, x->host.version) != 0)
			log_warn("container %s has driver %s of its own, the host has loaded %s: run "
				 "nvdriver lxc sync",
				 *ids, version, x->host.version);
	}
}

static int configurations(const struct lxc *x, json_t *report, struct err *e)
{
	_cleanup_free_ struct lxc_result *results = NULL;
	_cleanup_strv_ char **ids = NULL;
	json_t *list = json_array();
	int status, r = lxc_record_ids(x, &ids, e);
	size_t n = strv_len(ids);

	results = calloc(n ? n : 1, sizeof(*results));
	if (!list || !results || r < 0) {
		json_decref(list);
		return r < 0 ? r : err_oom(e);
	}
	stale_warn(x, ids);
	status = lxc_install(x, ids, n, LXC_STEP_DEVICES, results, NULL);
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append(list, results[i].report);
		lxc_result_done(&results[i]);
	}
	return json_object_set_new(report, "containers", list) < 0 ? err_oom(e) : status;
}

int lxc_sync_boot(struct lxc *x, json_t *report, struct err *e)
{
	_cleanup_(err_done) struct err live = ERR_INIT;
	_cleanup_free_ char *name = NULL;
	int r, status;

	if (!x->host.version)
		modules_load(x);
	r = facts_again(x, e);
	if (r < 0)
		return r;
	if (!x->host.version)
		return err_set(e, ERR_LXC_NO_DRIVER, "no NVIDIA driver is loaded on the host");
	r = lxc_host_nodes_make(x, e);
	if (r < 0)
		return r;
	/* Devices are worth having without the driver's directory, for containers with files of their own. */
	r = live_ready(x, &name, &live);
	status = configurations(x, report, e);
	if (status < 0)
		return status;
	if (r < 0) {
		err_move(e, &live);
		return r;
	}
	(void)json_object_set_new(report, "current", json_string(name));
	(void)json_object_set_new(report, "result", json_string("ready:"));
	return status;
}

/* -- hooks of one container -- */

static int version_check(const struct lxc *x, const struct lxc_ct *ct, struct err *e)
{
	_cleanup_free_ char *now = NULL, *version = NULL;
	const char *have = record_text(ct->record, "version");

	if (ct->want.pending_host)
		return 0;
	if (!lxc_record_has_files(ct->record)) {
		now = lxc_live_link(x, "current");
		have = now && lxc_live_version(now, &version) >= 0 ? version : NULL;
	}
	if (have && strcmp(have, x->host.version) == 0)
		return 0;
	(void)err_set(e, ERR_LXC_MISMATCH, "container %s would start with driver %s, the host has loaded %s",
		      ct->id, have ? have : "none", x->host.version);
	return err_object(e, "%s", ct->id);
}

/* Without our record or the configuration's wish there is nothing to do. */
static int hook_open(const struct lxc *x, const char *id, struct lxc_ct *ct, struct err *e)
{
	int r = lxc_ct_open_host(x, id, ct, e);

	if (r < 0)
		return r;
	return ct->conf.enabled && ct->record && x->host.version;
}

int lxc_hook_pre_start(const struct lxc *x, const char *id, struct err *e)
{
	_cleanup_(lxc_ct_done) struct lxc_ct ct = { 0 };
	_cleanup_free_ char *name = NULL;
	int r = hook_open(x, id, &ct, e);

	if (r <= 0)
		return r;
	r = lxc_ct_nodes_make(&ct, e);
	if (r >= 0 && !lxc_record_has_files(ct.record) && !ct.want.pending_host)
		r = live_ready(x, &name, e);
	return r < 0 ? r : version_check(x, &ct, e);
}

int lxc_hook_start_host(const struct lxc *x, const char *id, pid_t pid, struct err *e)
{
	_cleanup_(lxc_ct_done) struct lxc_ct ct = { 0 };
	const struct lxc_place place = { .init_pid = pid };
	_cleanup_close_ int root = -EBADF;
	int r = hook_open(x, id, &ct, e), bad = 0;

	if (r <= 0)
		return r;
	root = lxc_place_open(&place);
	if (root < 0)
		return err_errno(e, root, "cannot look into container %s", id);
	for (size_t i = 0; i < ct.nodes.n; i++) {
		const struct lxc_node *n = &ct.nodes.v[i];
		enum lxc_node_verdict v =
		    n->required ? lxc_node_look(root, n->path, n->major, n->minor) : LXC_NODE_OK;

		if (v == LXC_NODE_OK)
			continue;
		log_warn("container %s: /%s: %s", id, n->path, lxc_node_verdict_text(v));
		bad++;
	}
	return bad;
}
