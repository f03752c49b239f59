/* SPDX-License-Identifier: Apache-2.0 */
#include "testelf.h"

#include "container-peermem.h"
#include "interrupt.h"
#include "spawn.h"
#include "err-container.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

/* A side container's view, changed by the loop's own callbacks: `script` says what happens at the nth wait. */
struct bench {
	struct testdir t;
	struct host *h;
	char said[4096];
	unsigned waits, loads;
	void (*script)(struct bench *b);
	int load_answer;
	bool load_lies;
};

static void appear(struct bench *b, const char *module)
{
	char path[128];

	snprintf(path, sizeof(path), "sys/module/%s/refcnt", module);
	testdir_puts(&b->t, path, "0\n");
	snprintf(path, sizeof(path), "sys/module/%s/initstate", module);
	testdir_puts(&b->t, path, "live\n");
}

static void vanish(struct bench *b, const char *file)
{
	assert_int_equal(unlinkat(b->t.fd, file, 0), 0);
}

static int bench_load(void *arg, struct err *e)
{
	struct bench *b = arg;

	b->loads++;
	if (b->load_answer)
		return err_set(e, b->load_answer, "no");
	if (!b->load_lies)
		appear(b, "nvidia_peermem");
	return 0;
}

static bool bench_sleep(void *arg, unsigned ms)
{
	struct bench *b = arg;

	assert_int_equal(ms, 10000);
	b->waits++;
	if (b->script)
		b->script(b);
	return interrupt_pending();
}

static void bench_say(void *arg, const char *text)
{
	struct bench *b = arg;

	strncat(b->said, text, sizeof(b->said) - strlen(b->said) - 1);
	strncat(b->said, "\n", sizeof(b->said) - strlen(b->said) - 1);
}

static void bench_start(struct bench *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	*b = (struct bench){ 0 };
	interrupt_set(0);
	testdir_make(&b->t);
	testdir_puts(&b->t, "sys/module/x", "");
	testdir_puts(&b->t, "proc/sys/kernel/osrelease", "5.14.0-284.30.1.el9_2.x86_64\n");
	testdir_puts(&b->t, "proc/modules", "");
	assert_ok(host_open(b->t.path, &b->h, &e), &e);
}

static void bench_end(struct bench *b)
{
	interrupt_set(0);
	host_freep(&b->h);
	testdir_done(&b->t);
}

static int reload(struct bench *b, bool host_mofed, struct err *e)
{
	const struct container_peermem_ops ops = { bench_load, bench_sleep, bench_say, b };

	return container_peermem_reload(b->h, host_mofed, &ops, e);
}

/* First nothing, then the network driver, then the GPU driver; the driver restarts; at last a signal. */
static void one_life(struct bench *b)
{
	switch (b->waits) {
	case 1:
		testdir_puts(&b->t, CONTAINER_MOFED_FLAG, "");
		break;
	case 2:
		testdir_puts(&b->t, CONTAINER_READY_FLAG, "");
		break;
	case 3:
		assert_int_equal(b->loads, 1);
		break;
	case 4: /* the driver container restarts */
		vanish(b, "sys/module/nvidia_peermem/refcnt");
		vanish(b, CONTAINER_READY_FLAG);
		break;
	case 5:
		assert_int_equal(b->loads, 1);
		testdir_puts(&b->t, CONTAINER_READY_FLAG, "");
		break;
	default:
		assert_int_equal(b->loads, 2);
		interrupt_set(SIGTERM);
	}
}

static void loads_watches_and_loads_again(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bench b;

	bench_start(&b);
	b.script = one_life;
	assert_int_equal(reload(&b, false, &e), 0);
	assert_int_equal(b.waits, 6);
	assert_int_equal(b.loads, 2);
	assert_string_equal(
	    b.said, "waiting for the network driver container (/run/mellanox/drivers/.driver-ready)\n"
		    "waiting for the GPU driver container (/run/nvidia/validations/.driver-ctr-ready)\n"
		    "nvidia-peermem loaded\n"
		    "nvidia-peermem has gone\n"
		    "waiting for the GPU driver container (/run/nvidia/validations/.driver-ctr-ready)\n"
		    "nvidia-peermem loaded\n");
	bench_end(&b);
}

static void stop_at_once(struct bench *b _unused_)
{
	interrupt_set(SIGTERM);
}

/* What is there at the start, and what the loop does before the first wait ends. */
static void readiness_and_results(void **state _unused_)
{
	static const struct {
		bool host_mofed, mlx5, mofed_flag, ready_flag, peermem, lies;
		int load_answer, want;
		unsigned loads;
		const char *said;
	} cases[] = {
		{ true, false, true, true, false, false, 0, 0, 0, "(module mlx5_core)" },
		{ true, true, false, false, false, false, 0, 0, 0, "GPU driver container" },
		{ true, true, false, true, false, false, 0, 0, 1, "nvidia-peermem loaded" },
		{ false, true, false, true, false, false, 0, 0, 0, "network driver container" },
		{ false, false, true, true, true, false, 0, 0, 0, "loaded already" },
		{ false, false, true, true, false, true, 0, -ERR_PEERMEM_ABSENT, 1, "" },
		{ false, false, true, true, false, false, ERR_PEERMEM_ABI, -ERR_PEERMEM_ABI, 1, "" },
		{ false, false, true, true, false, false, ERR_INTERRUPTED, 0, 1, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct bench b;

		bench_start(&b);
		b.script = stop_at_once;
		b.load_answer = cases[i].load_answer;
		b.load_lies = cases[i].lies;
		if (cases[i].mlx5)
			appear(&b, "mlx5_core");
		if (cases[i].mofed_flag)
			testdir_puts(&b.t, CONTAINER_MOFED_FLAG, "");
		if (cases[i].ready_flag)
			testdir_puts(&b.t, CONTAINER_READY_FLAG, "");
		if (cases[i].peermem)
			appear(&b, "nvidia_peermem");
		assert_int_equal(reload(&b, cases[i].host_mofed, &e), cases[i].want);
		assert_int_equal(b.loads, cases[i].loads);
		assert_non_null(strstr(b.said, cases[i].said));
		bench_end(&b);
	}
}

static void a_real_signal_ends_the_real_wait(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct container_peermem_ops ops = { .load = bench_load };
	struct timespec from, to;
	struct bench b;
	pid_t child;

	bench_start(&b);
	interrupt_install();
	clock_gettime(CLOCK_MONOTONIC, &from);
	child = fork();
	if (child == 0) {
		usleep(50000);
		_exit(kill(getppid(), SIGTERM));
	}
	assert_int_equal(container_peermem_reload(b.h, false, &ops, &e), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true(to.tv_sec - from.tv_sec < 5);
	assert_int_equal(interrupt_signal(), SIGTERM);
	/* one that came before is not slept over */
	assert_true(interrupt_sleep(60000));
	bench_end(&b);
}

static void probes(void **state _unused_)
{
	static const struct {
		const char *mlx5, *peermem; /* initstate; NULL = not there, "" = the kernel does not say */
		int want;
	} cases[] = {
		{ NULL, NULL, 0 },
		{ NULL, "live", 0 },
		{ "live", "live", 0 },
		{ "live", NULL, -ERR_PEERMEM_ABSENT },
		{ "live", "coming", -ERR_PEERMEM_ABSENT },
		{ "live", "going", -ERR_PEERMEM_ABSENT },
		{ "going", NULL, 0 },
		{ "", "", 0 },
		{ "", NULL, -ERR_PEERMEM_ABSENT },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *const names[] = { "mlx5_core", "nvidia_peermem" };
		const char *const states[] = { cases[i].mlx5, cases[i].peermem };
		_cleanup_(err_done) struct err e = ERR_INIT;
		const char *text = NULL;
		uint64_t children = spawn_count();
		struct bench b;

		bench_start(&b);
		for (size_t m = 0; m < 2; m++) {
			char path[128];

			if (!states[m])
				continue;
			appear(&b, names[m]);
			snprintf(path, sizeof(path), "sys/module/%s/initstate", names[m]);
			if (*states[m])
				testdir_puts(&b.t, path, states[m]);
			else
				vanish(&b, path);
		}
		assert_int_equal(container_peermem_probe(b.h, &text, &e), cases[i].want);
		assert_true((text != NULL) == (cases[i].want == 0));
		assert_int_equal(spawn_count(), children);
		bench_end(&b);
	}
}

/* -- the real load, over a kernel that answers as told -- */

static struct {
	int answer;
	const char *klog;
	char params[128];
} kernel;

static int kernel_insert(void *arg, int fd, const char *params)
{
	struct bench *b = arg;

	assert_true(fd >= 0);
	snprintf(kernel.params, sizeof(kernel.params), "%s", params);
	if (kernel.answer)
		return kernel.answer;
	testdir_puts(&b->t, "proc/modules", "nvidia_peermem 4096 0 - Live 0x0\n");
	return 0;
}

static int kernel_remove(void *arg _unused_, const char *name _unused_)
{
	return 0;
}

static int kernel_log(void *arg _unused_, char **ret)
{
	*ret = strdup(kernel.klog ? kernel.klog : "");
	return *ret ? 0 : -ENOMEM;
}

static int kernel_own(void *arg _unused_, const char *name _unused_)
{
	return -ENOENT;
}

static void put_module(const struct testdir *t, const char *path)
{
	static const char info[] = "name=nvidia_peermem\0vermagic=5.14.0-284.30.1.el9_2.x86_64 SMP\0depends=";
	struct testelf elf;

	testelf_make(&elf, &(struct testelf_spec){ .modinfo = info, .modinfo_len = sizeof(info) });
	testdir_write(t, path, elf.bytes, elf.len, 0644);
}

static void loads_from_the_export(void **state _unused_)
{
	static const struct {
		bool module, options;
		int answer;
		const char *klog;
		int want;
	} cases[] = {
		{ true, true, 0, NULL, 0 },
		{ true, false, 0, NULL, 0 },
		{ false, false, 0, NULL, -ERR_MODULE_MISSING },
		{ true, false, -EINVAL, "", -ERR_PEERMEM_ABI },
		{ true, true, -EINVAL, "`2' invalid for parameter `peerdirect_support'",
		  -ERR_MODULE_PARAMETER },
		{ true, false, -ENOENT, "nvidia_peermem: Unknown symbol ib_register_peer_memory_client",
		  -ERR_MODULE_SYMBOL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct bench b;
		const struct modload_ops ops = { kernel_insert, kernel_remove, kernel_log, kernel_own, &b };

		bench_start(&b);
		kernel.answer = cases[i].answer;
		kernel.klog = cases[i].klog;
		kernel.params[0] = '\0';
		if (cases[i].module)
			put_module(&b.t, CONTAINER_EXPORT
				   "/lib/modules/5.14.0-284.30.1.el9_2.x86_64/kernel/drivers/video/"
				   "nvidia-peermem.ko");
		if (cases[i].options)
			testdir_puts(&b.t, CONTAINER_EXPORT "/etc/modprobe.d/nvidia-peermem.conf",
				     "options nvidia-peermem peerdirect_support=1\noptions nvidia x=1\n");
		assert_int_equal(container_peermem_load(b.h, &ops, &e), cases[i].want);
		if (cases[i].want == 0)
			assert_string_equal(kernel.params, cases[i].options ? "peerdirect_support=1" : "");
		bench_end(&b);
	}
}

TEST_MAIN(cmocka_unit_test(loads_watches_and_loads_again), cmocka_unit_test(readiness_and_results),
	  cmocka_unit_test(a_real_signal_ends_the_real_wait), cmocka_unit_test(probes),
	  cmocka_unit_test(loads_from_the_export))
