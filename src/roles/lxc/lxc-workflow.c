/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-workflow.h"

#include "fd.h"
#include "host.h"
#include "interrupt.h"
#include "jutil.h"
#include "log.h"
#include "lxc-cuda.h"
#include "lxc-deliver.h"
#include "lxc-devices.h"
#include "lxc-edit.h"
#include "lxc-enter.h"
#include "lxc-live.h"
#include "lxc-ops.h"
#include "lxc-ownnodes.h"
#include "lxc-state.h"
#include "lxc-toolkit-step.h"
#include "lxc-verify.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_MAX   ((size_t)16 << 20)
#define RESULT_WHOLE "whole"
#define RESULT_PART  "unfinished"

struct lxc_step lxc_step_toolkit = { LXC_STEP_TOOLKIT, "toolkit", lxc_toolkit_plan };

void lxc_result_done(struct lxc_result *r)
{
	json_decref(r->report);
	r->report = NULL;
}

/* -- the plan of one container -- */

struct making {
	struct lxc_ct *ct;
	unsigned steps;
	const char *view_id;
	struct plan *p;
	struct err *e;
};

static int plan_driver(const struct making *m)
{
	enum lxc_delivery d;
	int r = lxc_delivery_choose(m->ct, &d, m->e);

	return r < 0 ? r : lxc_deliver_plan(m->ct, d, m->view_id, m->p, m->e);
}

static int plan_toolkit(const struct making *m)
{
	if (!(m->steps & LXC_STEP_TOOLKIT) || !lxc_step_toolkit.plan || m->ct->x->opt->no_toolkit)
		return 0;
	return lxc_step_toolkit.plan(m->ct, m->p, m->e);
}

static int plan_fill(const struct making *m)
{
	bool first = m->ct->x->opt->toolkit_first;
	int r = 0;

	if (m->steps & LXC_STEP_DEVICES)
		r = lxc_devices_plan(m->ct, m->p, m->e);
	if (r >= 0 && first)
		r = plan_toolkit(m);
	if (r >= 0 && (m->steps & LXC_STEP_DRIVER))
		r = plan_driver(m);
	else if (r >= 0 && m->ct->facts.state != LXC_STOPPED)
		r = lxc_power_plan(m->ct, m->p, m->e);
	if (r >= 0 && !first)
		r = plan_toolkit(m);
	return r;
}

int lxc_plan_make(struct lxc_ct *ct, unsigned steps, const char *view_id, struct plan **ret, bool *ret_todo,
		  struct err *e)
{
	_cleanup_free_ char *title = str_printf("driver %s for container %s", ct->want.version, ct->id);
	_cleanup_(plan_freep) struct plan *p = NULL;
	struct making m = { ct, steps, view_id, NULL, e };
	int r;

	if (!title || plan_new(title, ct->target, &p) < 0)
		return err_oom(e);
	m.p = p;
	r = plan_fill(&m);
	if (r >= 0)
		r = plan_check(p, ct->x->en->host, e);
	if (r < 0)
		return r;
	*ret_todo = r == 0;
	*ret = TAKE_PTR(p);
	return 0;
}

/* -- reports -- */

static json_t *report_new(const char *id)
{
	return json_pack("{s:s, s:s}", "id", id, "result", "unknown");
}

static int report_error(struct lxc_result *r, const struct err *e)
{
	json_t *error = json_pack("{s:s, s:s?, s:s, s:s}", "slug", err_slug(e->code), "object", e->object,
				  "reason", e->reason ? e->reason : err_sentence(e->code), "next_step",
				  e->next ? e->next : err_next_step(e->code));

	r->status = err_exit_status(e->code);
	if (!r->report || !error || json_object_set_new(r->report, "error", error) < 0)
		return r->status;
	(void)json_object_set_new(r->report, "result", json_string("failed"));
	(void)json_object_set_new(r->report, "status", json_integer(r->status));
	return r->status;
}

static int report_done(struct lxc_result *r, const struct lxc_ct *ct, const char *result, int status)
{
	r->status = status;
	if (r->report) {
		(void)json_object_set_new(r->report, "result", json_string(result));
		(void)json_object_set_new(r->report, "status", json_integer(status));
		if (ct->want.version)
			(void)json_object_set_new(r->report, "version", json_string(ct->want.version));
		if (ct->facts.name || ct->conf.name)
			(void)json_object_set_new(
			    r->report, "name", json_string(ct->facts.name ? ct->facts.name : ct->conf.name));
	}
	return status;
}

static json_t *sentences(const struct plan *p)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < p->n_ops; i++)
		if (!p->ops[i].already)
			(void)json_array_append_new(list, json_string(p->ops[i].sentence));
	return list;
}

static int worst(int a, int b)
{
	return a == 0 ? b : b == 0 ? a : b > a ? b : a;
}

/* -- looking at one container -- */

struct job {
	const struct lxc *x;
	unsigned steps;
	enum lxc_delivery delivery;
	char view_id[65];
	struct lxc_ct ct;
	struct plan *plan; /* owned */
	bool todo, opened;
	struct lxc_result *result;
};

static void job_done(struct job *j)
{
	plan_freep(&j->plan);
	if (j->opened)
		lxc_ct_done(&j->ct);
}

static int check_now(const struct lxc_ct *ct, enum lxc_level level, json_t *problems, char **ret_user,
		     struct err *e)
{
	const struct lxc *x = ct->x;
	_cleanup_json_ json_t *nodes = lxc_nodes_json(&ct->nodes);
	_cleanup_close_ int live = lxc_live_open(x);
	const struct lxc_check c = { .backend = x->backend,
				     .id = ct->id,
				     .place = &ct->place,
				     .state = ct->facts.state,
				     .want = ct->want.version,
				     .host = ct->want.pending_host ? NULL : x->host.version,
				     .machine = x->host.machine,
				     .nodes = nodes,
				     .n_gpus = ct->gpus.n,
				     .level = ct->want.pending_host ? LXC_LEVEL_STATIC : level,
				     .live_fd = live,
				     .allow_missing_devices = x->opt->allow_missing_devices };

	return nodes ? lxc_check_run(&c, problems, ret_user, e) : err_oom(e);
}

static json_t *our_lines(const struct lxc_ct *ct)
{
	_cleanup_strv_ char **lines = NULL, **ours = NULL;
	_cleanup_free_ char *live = lxc_live_line(ct->x, ct->facts.unprivileged);
	int r = lxc_ct_lines(ct, &lines);

	if (r >= 0 && live)
		r = strv_push(&lines, live);
	for (char **p = lines; r >= 0 && p && *p; p++)
		if (lxc_lines_contain(ct->facts.lines, *p))
			r = strv_push(&ours, *p);
	return r < 0 ? NULL : jstrv(ours);
}

/* "12.8" where usr/local/cuda leads to cuda-12.8 and a compiler is there. Caller frees. */
static char *toolkit_there(const struct lxc_ct *ct)
{
	_cleanup_close_ int root = lxc_place_open(&ct->place);
	_cleanup_free_ char *name = NULL;

	if (root < 0 || !path_exists(root, "usr/local/cuda/bin/nvcc") ||
	    lxc_resolve_beneath(root, "usr/local/cuda", &name, NULL) < 0)
		return NULL;
	return strdup(strncmp(name, "cuda-", 5) == 0 ? name + 5 : "?");
}

static json_t *steps_json(unsigned steps)
{
	return json_pack("{s:b, s:b, s:b}", "devices", !!(steps & LXC_STEP_DEVICES), "driver",
			 !!(steps & LXC_STEP_DRIVER), "toolkit", !!(steps & LXC_STEP_TOOLKIT));
}

/* steps: what is finished by now; an earlier run's stay finished. */
static unsigned steps_done(const json_t *record, unsigned steps)
{
	const json_t *o = json_object_get(record, "steps");

	return steps | (json_is_true(json_object_get(o, "devices")) ? LXC_STEP_DEVICES : 0) |
	       (json_is_true(json_object_get(o, "driver")) ? LXC_STEP_DRIVER : 0) |
	       (json_is_true(json_object_get(o, "toolkit")) ? LXC_STEP_TOOLKIT : 0);
}

static int record_make(const struct job *j, unsigned steps, const char *result, struct err *e)
{
	const struct lxc_ct *ct = &j->ct;
	_cleanup_json_ json_t *record = ct->record ? json_deep_copy(ct->record) : json_object();
	_cleanup_free_ char *toolkit = toolkit_there(ct);
	int r;

	if (!record || json_object_set_new(record, "steps", steps_json(steps_done(record, steps))) < 0 ||
	    json_object_set_new(record, "result", json_string(result)) < 0 ||
	    json_object_set_new(record, "toolkit", toolkit ? json_string(toolkit) : json_null()) < 0 ||
	    json_object_set_new(record, "id", json_string(ct->id)) < 0 ||
	    json_object_set_new(record, "backend", json_string(ct->x->backend->ops->name)) < 0 ||
	    json_object_set_new(record, "version", json_string(ct->want.version)) < 0 ||
	    json_object_set_new(record, "delivery", json_string(lxc_delivery_name(j->delivery))) < 0 ||
	    json_object_set_new(record, "pending_host", json_boolean(ct->want.pending_host)) < 0 ||
	    json_object_set_new(record, "extras", lxc_extras_json(ct->extras)) < 0 ||
	    json_object_set_new(record, "lines", our_lines(ct)) < 0)
		return err_oom(e);
	if (*j->view_id && json_object_set_new(record, "view", json_string(j->view_id)) < 0)
		return err_oom(e);
	r = strcmp(result, RESULT_WHOLE) == 0 ? lxc_record_stamp(record, ct) : 0;
	return r < 0 ? err_oom(e) : lxc_record_write(ct->x, ct->target, record, e);
}

static int settle(struct job *j, const char *result, struct err *e)
{
	_cleanup_json_ json_t *problems = json_array();
	bool covered = lxc_record_covers(&j->ct);
	int r = 0;

	/* The very process it was proven for still runs, with the same nodes and version. */
	if (!covered && j->ct.facts.state == LXC_RUNNING && (j->steps & LXC_STEP_DRIVER))
		r = check_now(&j->ct, j->x->opt->level, problems, NULL, e);
	if (r > 0) {
		(void)json_object_set(j->result->report, "problems", problems);
		return report_done(j->result, &j->ct, "unhealthy", 8);
	}
	if (r >= 0)
		r = record_make(j, j->steps, RESULT_WHOLE, e);
	return r < 0 ? r : report_done(j->result, &j->ct, result, 0);
}

/* A container whose root is only there while it runs cannot be looked at before. The devices of a stopped one are a
 * matter of its configuration alone. */
static bool is_out_of_sight(const struct job *j)
{
	_cleanup_close_ int root = lxc_place_open(&j->ct.place);

	return root < 0 && j->ct.facts.state != LXC_RUNNING && (j->steps & ~LXC_STEP_DEVICES);
}

static int start_to_look(struct job *j, struct err *e)
{
	struct lxc_backend *b = j->x->backend;
	int r;

	if (!is_out_of_sight(j))
		return 0;
	log_info("starting container %s to look inside", j->ct.id);
	r = b->ops->start(b, j->ct.id, e);
	return r < 0 ? r : lxc_ct_refresh(&j->ct, e);
}

/* Where nothing was asked for, a host that cannot mount an image, or make one, copies. */
static int job_prepare(struct job *j, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	bool switched;
	int r = lxc_deliver_prepare(&j->ct, j->delivery, j->view_id, &switched, &own);

	if ((r == -ERR_LXC_LIVE || r == -ERR_TOOL_MISSING) && j->x->opt->delivery == LXC_DELIVERY_AUTO &&
	    j->delivery == LXC_DELIVERY_SHARED) {
		log_warn("container %s gets a copy of the driver: %s", j->ct.id,
			 own.reason ? own.reason : err_sentence(own.code));
		j->ct.unshareable = true;
		j->delivery = LXC_DELIVERY_TREE;
		return lxc_deliver_prepare(&j->ct, j->delivery, j->view_id, &switched, e);
	}
	if (r < 0)
		err_move(e, &own);
	return r;
}

static int job_plan(struct job *j, struct err *e)
{
	int r = lxc_delivery_choose(&j->ct, &j->delivery, e);

	/* The nodes are the host's: they are made once, before anything of a container is touched. */
	if (r >= 0 && !j->x->en->dry_run)
		r = lxc_ct_nodes_make(&j->ct, e);
	if (r >= 0 && (j->steps & LXC_STEP_DRIVER) && !j->x->en->dry_run)
		r = job_prepare(j, e);
	if (r >= 0 && !j->x->en->dry_run && is_out_of_sight(j)) {
		j->todo = true; /* planned once it runs */
		return 0;
	}
	return r < 0 ? r : lxc_plan_make(&j->ct, j->steps, j->view_id, &j->plan, &j->todo, e);
}

/* Two that put driver files into one container would fight; the manager was told first. */
static int only_look(struct job *j, struct err *e)
{
	_cleanup_json_ json_t *problems = json_array();
	int r = 0;

	if (j->ct.facts.state == LXC_RUNNING && !j->x->en->dry_run)
		r = check_now(&j->ct, j->x->opt->level, problems, NULL, e);
	if (r < 0)
		return r;
	(void)json_object_set(j->result->report, "problems", problems);
	return report_done(j->result, &j->ct,
			   r ? "unhealthy: nvidia.runtime owns its driver" : "left to nvidia.runtime",
			   r ? 8 : 0);
}

static int job_look(struct job *j, const char *id, struct err *e)
{
	int r = lxc_ct_open(j->x, id, &j->ct, e);

	if (r < 0)
		return r;
	j->opened = true;
	if (!j->ct.conf.enabled)
		return report_done(j->result, &j->ct, "not enabled", 0);
	if (j->ct.facts.has_own_driver)
		return only_look(j, e);
	r = job_plan(j, e);
	if (r < 0)
		return r;
	return j->todo || j->x->en->dry_run ? 0 : settle(j, "nothing to do", e);
}

/* -- working on one container -- */

static int apply_whole(struct job *j, struct err *e)
{
	struct engine *en = j->x->en;

	return plan_apply(j->plan, &en->state, en->host, en->lock_timeout_s, NULL, e);
}

/* Without rollback: one plan per step, so that what is finished stays and the record says how far it came. */
static int apply_steps(struct job *j, struct err *e)
{
	static const unsigned order[] = { LXC_STEP_DEVICES, LXC_STEP_DRIVER, LXC_STEP_TOOLKIT };
	struct engine *en = j->x->en;
	unsigned done = 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(order); i++) {
		_cleanup_(plan_freep) struct plan *p = NULL;
		bool todo = false;

		if (!(j->steps & order[i]))
			continue;
		r = lxc_plan_make(&j->ct, order[i], j->view_id, &p, &todo, e);
		if (r >= 0 && todo)
			r = plan_apply(p, &en->state, en->host, en->lock_timeout_s, NULL, e);
		if (r >= 0)
			r = lxc_ct_refresh(&j->ct, e);
		if (r >= 0)
			r = record_make(j, done |= order[i], RESULT_PART, e);
	}
	return r;
}

/* Packages are not taken back by us; with a snapshot the manager can. */
static int snapshot_take(const struct job *j, struct err *e)
{
	struct lxc_backend *b = j->x->backend;
	const char *name = j->x->opt->snapshot;

	if (!name)
		return 0;
	if (!b->ops->snapshot)
		return err_set(e, ERR_LXC_BACKEND, "%s takes no snapshots of containers that run",
			       b->ops->name);
	log_info("taking snapshot %s of container %s", name, j->ct.id);
	return b->ops->snapshot(b, j->ct.id, name, e);
}

static int job_work(struct job *j, struct err *e)
{
	bool was_stopped = j->ct.facts.state == LXC_STOPPED;
	_cleanup_json_ json_t *done = NULL;
	int r = snapshot_take(j, e);

	if (r >= 0)
		r = start_to_look(j, e);

	if (r >= 0 && !j->plan)
		r = lxc_plan_make(&j->ct, j->steps, j->view_id, &j->plan, &j->todo, e);
	done = j->plan ? sentences(j->plan) : NULL;
	if (r >= 0 && j->todo)
		r = j->x->opt->rollback ? apply_whole(j, e) : apply_steps(j, e);
	if (r < 0 && was_stopped && j->x->opt->rollback)
		(void)j->x->backend->ops->stop(j->x->backend, j->ct.id, NULL);
	if (r >= 0)
		r = lxc_ct_refresh(&j->ct, e);
	if (r < 0)
		return r;
	if (done && j->result->report)
		(void)json_object_set(j->result->report, "steps", done);
	/* The last operation checked all levels on exactly this container. */
	r = record_make(j, j->steps, RESULT_WHOLE, e);
	return r < 0 ? r : report_done(j->result, &j->ct, "installed", 0);
}

static void job_run(struct job *j)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	if (job_work(j, &e) < 0)
		(void)report_error(j->result, &e);
}

/* -- many -- */

struct worker {
	pid_t pid;
	int fd; /* owned */
	struct job *job;
	struct strbuf text;
};

static void worker_child(struct job *j, int fd)
{
	_cleanup_free_ char *text = NULL;

	job_run(j);
	if (j->result->report && jdump(j->result->report, &text) >= 0)
		(void)write_all(fd, text, strlen(text));
	_exit(j->result->status);
}

static int worker_start(struct worker *w, struct job *j)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*w = (struct worker){ .fd = fds[0], .job = j, .text = STRBUF_INIT(REPORT_MAX) };
	w->pid = fork();
	if (w->pid == 0)
		worker_child(j, fds[1]);
	(void)close(fds[1]);
	if (w->pid < 0) {
		close_fdp(&w->fd);
		return -errno;
	}
	return 0;
}

static void worker_end(struct worker *w)
{
	_cleanup_json_ json_t *report = NULL;
	int status = 0;

	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	w->job->result->status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	if (jparse((struct span){ strbuf_str(&w->text), w->text.len }, &report, NULL) >= 0) {
		json_decref(w->job->result->report);
		w->job->result->report = TAKE_PTR(report);
	} else if (w->job->result->report) {
		(void)json_object_set_new(w->job->result->report, "result", json_string("failed"));
	}
	close_fdp(&w->fd);
	strbuf_done(&w->text);
	w->pid = 0;
}

static void workers_wait(struct worker *v, size_t n)
{
	struct pollfd p[64];
	char buf[16384];

	for (size_t i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = v[i].pid ? v[i].fd : -1, .events = POLLIN };
	(void)poll(p, n, -1);
	for (size_t i = 0; i < n; i++) {
		ssize_t got = p[i].revents ? read(v[i].fd, buf, sizeof(buf)) : -1;

		if (got > 0)
			(void)strbuf_append(&v[i].text, buf, (size_t)got);
		else if (got == 0)
			worker_end(&v[i]);
	}
}

static size_t busy(const struct worker *v, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		k += v[i].pid != 0;
	return k;
}

static void work_all(struct job **jobs, size_t n, unsigned width)
{
	struct worker v[64] = { 0 };
	size_t next = 0;

	width = width < 1 ? 1 : width > ARRAY_LEN(v) ? (unsigned)ARRAY_LEN(v) : width;
	while (next < n || busy(v, width)) {
		for (size_t i = 0; i < width && next < n; i++)
			if (!v[i].pid && worker_start(&v[i], jobs[next++]) < 0)
				job_run(jobs[next - 1]);
		if (busy(v, width))
			workers_wait(v, width);
	}
}

/* It writes little, as a container that shares the driver's directory does. */
static bool is_light(const struct job *j)
{
	for (size_t i = 0; j->plan && i < j->plan->n_ops; i++)
		if (j->plan->ops[i].type == &lxc_op_toolkit)
			return false;
	return j->delivery == LXC_DELIVERY_SHARED;
}

/* Light ones mostly wait until a few records are on the disk, and one wait of the disk's does for many of them. Copies, installers
 * and package managers want processors. */
static unsigned width_of(const struct lxc *x, struct job *const *jobs, size_t n)
{
	unsigned cpus = host_cpu_count(x->en->host);

	if (x->opt->jobs)
		return x->opt->jobs;
	for (size_t i = 0; i < n; i++)
		if (!is_light(jobs[i]))
			return cpus;
	return 8 * cpus;
}

static void show_plan(const struct job *j, struct strbuf *text)
{
	json_t *plan = NULL;

	if (text)
		(void)plan_to_text(j->plan, j->x->en->host, text);
	if (j->result->report && plan_to_json(j->plan, &plan) >= 0)
		(void)json_object_set_new(j->result->report, "plan", plan);
	(void)report_done(j->result, &j->ct, j->todo ? "would install" : "nothing to do", 0);
}

/* How it ended, for who reads the log only. */
static void result_log(const char *id, const struct lxc_result *r)
{
	const json_t *error = json_object_get(r->report, "error");
	const char *result = json_string_value(json_object_get(r->report, "result"));
	const char *reason = json_string_value(json_object_get(error, "reason"));

	log_outcome(r->status == 0, "container %s: %s%s%s", id, result ? result : "failed",
		    reason ? ": " : "", reason ? reason : "");
}

int lxc_install(const struct lxc *x, char *const *ids, size_t n, unsigned steps, struct lxc_result *results,
		struct strbuf *text)
{
	struct job *jobs = calloc(n ? n : 1, sizeof(*jobs)), **todo = calloc(n ? n : 1, sizeof(struct job *));
	size_t n_todo = 0;
	int status = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;

		results[i] = (struct lxc_result){ 1, report_new(ids[i]) };
		if (!jobs || !todo)
			continue;
		jobs[i] = (struct job){ .x = x, .steps = steps, .result = &results[i] };
		if (job_look(&jobs[i], ids[i], &e) < 0)
			(void)report_error(&results[i], &e);
		else if (jobs[i].plan && x->en->dry_run)
			show_plan(&jobs[i], text);
		else if (jobs[i].todo)
			todo[n_todo++] = &jobs[i];
	}
	if (n_todo == 1)
		job_run(todo[0]);
	else if (n_todo)
		work_all(todo, n_todo, width_of(x, todo, n_todo));
	for (size_t i = 0; i < n; i++) {
		status = worst(status, results[i].status);
		result_log(ids[i], &results[i]);
	}
	for (size_t i = 0; jobs && i < n; i++)
		job_done(&jobs[i]);
	free(jobs);
	free(todo);
	return status;
}

/* -- verify and status -- */

static bool drift_add(json_t *problems, json_t *text)
{
	(void)json_array_append_new(problems, json_pack("{s:s, s:s, s:o}", "level", "configuration", "slug",
							err_slug(ERR_LXC_DRIFT), "problem", text));
	return true;
}

/* What a clone or a restored backup has of the container it was made from. */
static bool drifted_clone(const struct lxc_ct *ct, json_t *problems)
{
	_cleanup_strv_ char **foreign = NULL;
	bool drift = false;

	if (ct->clone_of)
		drift = drift_add(problems,
				  json_sprintf("its files are those of container %s, of which it is a clone",
					       ct->clone_of));
	(void)lxc_device_foreign(ct->x->state_dir, ct->target, ct->facts.lines, &foreign);
	for (char **p = foreign; p && *p; p++)
		drift = drift_add(problems,
				  json_sprintf("the configuration has another container's devices: %s", *p));
	return drift;
}

static bool drifted_mount(const struct lxc_ct *ct, json_t *problems)
{
	const char *delivery = json_string_value(json_object_get(ct->record, "delivery"));
	_cleanup_free_ char *line = lxc_live_line(ct->x, ct->facts.unprivileged);

	if (!delivery || strcmp(delivery, "shared") != 0 || !line || lxc_lines_contain(ct->facts.lines, line))
		return false;
	return drift_add(problems, json_sprintf("the configuration lacks: %s", line));
}

/* What an installation would write again: links, the loader's configuration, the repository, its key and pins. Nothing is fetched
 * and no program runs; what cannot be planned from here is found by the other checks. */
static int files_plan(struct lxc_ct *ct, enum lxc_delivery d, struct plan *p)
{
	const char *view = json_string_value(json_object_get(ct->record, "view"));
	int r = 0;

	if (view && d != LXC_DELIVERY_RUN)
		r = lxc_deliver_plan(ct, d, view, p, NULL);
	if (r >= 0 && json_is_string(json_object_get(ct->record, "toolkit")))
		r = lxc_toolkit_plan(ct, p, NULL);
	return r;
}

static bool files_drift(const struct plan *p, const struct lxc *x, json_t *problems)
{
	const struct plan_ctx c = {
		.host = x->en->host, .undo_fd = -EBADF, .log_fd = -EBADF, .offline = true
	};
	bool drift = false;

	for (size_t i = 0; i < p->n_ops; i++)
		if (p->ops[i].type == &lxc_op_files && lxc_op_files.check(&c, p->ops[i].args, NULL) == 0)
			drift = drift_add(
			    problems, json_sprintf("an installation would again: %s", p->ops[i].sentence));
	return drift;
}

static bool drifted_files(struct lxc_ct *ct, json_t *problems)
{
	const struct lxc *x = ct->x;
	const char *delivery = json_string_value(json_object_get(ct->record, "delivery"));
	_cleanup_(plan_freep) struct plan *p = NULL;
	struct lxc_options opt = *x->opt;
	struct engine en = *x->en;
	struct lxc looking = *x;
	bool drift;

	if (!delivery || lxc_delivery_parse(delivery, &opt.delivery) < 0 ||
	    plan_new("looking", ct->target, &p) < 0)
		return false;
	en.dry_run = en.offline = true;
	looking.en = &en;
	looking.opt = &opt;
	ct->x = &looking;
	drift = files_plan(ct, opt.delivery, p) >= 0 && files_drift(p, &looking, problems);
	ct->x = x;
	return drift;
}

static bool drifted_toolkit(const struct lxc_ct *ct, json_t *problems)
{
	const char *want = json_string_value(json_object_get(ct->record, "toolkit"));
	_cleanup_close_ int root = lxc_place_open(&ct->place);
	_cleanup_free_ char *have = toolkit_there(ct);

	if (!want || root < 0 || (have && strcmp(have, want) == 0))
		return false;
	return drift_add(problems, json_sprintf("the CUDA toolkit %s that was installed is %s%s", want,
						have ? "now " : "gone", have ? have : ""));
}

static bool drifted(struct lxc_ct *ct, json_t *problems)
{
	_cleanup_strv_ char **wanted = NULL;
	bool drift = drifted_clone(ct, problems);

	drift = drifted_files(ct, problems) || drift;
	drift = drifted_toolkit(ct, problems) || drift;

	drift = drifted_mount(ct, problems) || drift;
	if (!ct->x->host.version || lxc_ct_lines(ct, &wanted) < 0)
		return drift;
	for (char **p = wanted; p && *p; p++) {
		if (lxc_lines_find(ct->facts.lines, *p))
			continue;
		drift = drift_add(problems, json_sprintf("the configuration lacks: %s", *p));
	}
	return drift;
}

static int verify_status(const json_t *problems)
{
	const json_t *o;
	int status = 0;
	size_t i;

	json_array_foreach (problems, i, o) {
		const char *slug = json_string_value(json_object_get(o, "slug"));

		status = slug && strcmp(slug, err_slug(ERR_LXC_MISMATCH)) == 0 ? 8 : status ? status : 10;
	}
	return status;
}

static int problem_add(json_t *problems, const char *level, int code, const char *text, struct err *e)
{
	return json_array_append_new(problems, json_pack("{s:s, s:s, s:s}", "level", level, "slug",
							 err_slug(code), "problem", text)) < 0
		   ? err_oom(e)
		   : 0;
}

static int cuda_code(int result)
{
	return result == 803			? ERR_LXC_MISMATCH
	       : result == 100 || result == 999 ? ERR_LXC_DEVICE
						: ERR_LXC_DRIVER;
}

/* Asked for, so what cannot be told is a finding too. */
static int cuda_check(const struct lxc_ct *ct, json_t *problems, json_t *report, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	int result = -1, r;

	if (ct->facts.state != LXC_RUNNING)
		return problem_add(problems, "cuda", ERR_LXC_STOPPED,
				   "whether CUDA starts cannot be told: the container is not running", e);
	r = lxc_cuda_init(ct->x->backend, ct->id, &result, &text, &own);
	if (r == -ERR_TIMEOUT)
		return problem_add(problems, "cuda", ERR_LXC_DRIVER,
				   "cuInit(0) does not return: the driver hangs, a problem of the host", e);
	if (r < 0) {
		err_move(e, &own);
		return r;
	}
	if (result >= 0)
		(void)json_object_set_new(report, "cuda_init", json_integer(result));
	return text ? problem_add(problems, "cuda", cuda_code(result), text, e) : 0;
}

static int verify_one(const struct lxc *x, const char *id, struct lxc_result *ret, struct err *e)
{
	_cleanup_(lxc_ct_done) struct lxc_ct ct = { 0 };
	_cleanup_json_ json_t *problems = json_array();
	_cleanup_free_ char *user = NULL, *toolkit = NULL;
	int r = lxc_ct_open(x, id, &ct, e), status;

	if (r < 0 || !problems)
		return r < 0 ? r : err_oom(e);
	if (!ct.conf.enabled)
		return report_done(ret, &ct, "not enabled", 0);
	(void)drifted(&ct, problems);
	r = check_now(&ct, x->opt->level, problems, &user, e);
	if (r >= 0 && x->opt->cuda_init)
		r = cuda_check(&ct, problems, ret->report, e);
	if (r < 0)
		return r;
	status = verify_status(problems);
	(void)json_object_set(ret->report, "problems", problems);
	(void)json_object_set_new(ret->report, "state", json_string(lxc_state_name(ct.facts.state)));
	(void)json_object_set_new(ret->report, "user_version", user ? json_string(user) : json_null());
	(void)json_object_set_new(ret->report, "host_version",
				  x->host.version ? json_string(x->host.version) : json_null());
	toolkit = toolkit_there(&ct);
	(void)json_object_set_new(ret->report, "wanted_version",
				  ct.want.version ? json_string(ct.want.version) : json_null());
	(void)json_object_set_new(ret->report, "toolkit", toolkit ? json_string(toolkit) : json_null());
	(void)json_object_set_new(
	    ret->report, "delivery",
	    json_string(json_string_value(json_object_get(ct.record, "delivery")) ?: "none"));
	(void)json_object_set_new(ret->report, "devices", json_integer((json_int_t)ct.gpus.n));
	return report_done(ret, &ct, status == 0 ? "healthy" : status == 8 ? "mismatch" : "drift", status);
}

int lxc_verify_many(const struct lxc *x, char *const *ids, size_t n, struct lxc_result *results)
{
	int status = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;

		results[i] = (struct lxc_result){ 1, report_new(ids[i]) };
		if (verify_one(x, ids[i], &results[i], &e) < 0)
			(void)report_error(&results[i], &e);
		status = worst(status, results[i].status);
	}
	return status;
}

/* -- remove and rollback -- */

/* The vendor's uninstaller runs inside: a stopped container is started for it, and stopped again. */
static int undo_begin(const struct lxc *x, const char *id, const char *target, bool *ret_started,
		      struct err *e)
{
	_cleanup_(lxc_facts_done) struct lxc_facts facts = { 0 };
	_cleanup_json_ json_t *record = NULL;
	const char *delivery;
	int r = lxc_record_read(x, target, &record, e);

	*ret_started = false;
	delivery = r < 0 ? NULL : json_string_value(json_object_get(record, "delivery"));
	if (r < 0 || x->en->dry_run || !delivery ||
	    strcmp(delivery, lxc_delivery_name(LXC_DELIVERY_RUN)) != 0)
		return r;
	r = x->backend->ops->facts(x->backend, id, &facts, e);
	if (r < 0 || facts.state != LXC_STOPPED)
		return r;
	*ret_started = true;
	return x->backend->ops->start(x->backend, id, e);
}

static int take_back(const struct lxc *x, const char *id, bool all, struct lxc_result *ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf show = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *target = str_printf("lxc-%s", id);
	struct lxc_ct ct = { .x = x };
	bool started;
	unsigned n = 0;
	int r;

	if (!target)
		return err_oom(e);
	r = undo_begin(x, id, target, &started, e);
	if (r < 0)
		return r;
	do {
		_cleanup_(err_done) struct err own = ERR_INIT;

		r = plan_undo(&x->en->state, target, NULL, x->opt->force, x->en->dry_run, &show, &own);
		if (r == -ERR_UNDO_NOTHING && n)
			break;
		if (r < 0) {
			if (started)
				(void)x->backend->ops->stop(x->backend, id, NULL);
			err_move(e, &own);
			return r;
		}
		n++;
	} while (all && !x->en->dry_run);
	if (started)
		(void)x->backend->ops->stop(x->backend, id, NULL);
	if (!x->en->dry_run && all) {
		lxc_ownnodes_remove(x->en->host, id);
		r = lxc_record_remove(x, target, e);
	}
	if (r < 0 && r != -ERR_UNDO_NOTHING)
		return r;
	(void)json_object_set_new(ret->report, "deployments", json_integer(n));
	return report_done(ret, &ct,
			   x->en->dry_run ? "would be taken back"
			   : all	  ? "removed"
					  : "rolled back",
			   0);
}

int lxc_remove(const struct lxc *x, char *const *ids, size_t n, bool all, struct lxc_result *results)
{
	int status = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;

		results[i] = (struct lxc_result){ 1, report_new(ids[i]) };
		if (take_back(x, ids[i], all, &results[i], &e) < 0)
			(void)report_error(&results[i], &e);
		status = worst(status, results[i].status);
	}
	return status;
}
