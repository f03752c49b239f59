/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs inside a container: has the loader there find and start libcuda.so.1 as it would for any program, calls cuInit(0)
 * and prints "cuInit <result>". It uses nothing else, not even the C library (whose symbol versions would tie it to
 * systems as new as the one it was built on); that one comes in as the driver's own dependency. */

extern int cuInit(unsigned flags);
void probe_main(void);

#if defined(__x86_64__)
#define SYS_WRITE 1
#define SYS_EXIT  231
__asm__(".globl _start\n_start:\n\txorl %ebp, %ebp\n\tandq $-16, %rsp\n\tcall probe_main\n\thlt\n");

static long call(long number, long a, long b, long c)
{
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
#define SYS_WRITE 64
#define SYS_EXIT  94
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tbl probe_main\n\tbrk #0\n");

static long call(long number, long a, long b, long c)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
#else
#error "no such machine"
#endif

void probe_main(void)
{
	char text[32] = "cuInit ";
	unsigned result = (unsigned)cuInit(0), scale = 1;
	long n = 7;

	while (result / scale >= 10)
		scale *= 10;
	for (; scale; scale /= 10)
		text[n++] = (char)('0' + result / scale % 10);
	text[n++] = '\n';
	(void)call(SYS_WRITE, 1, (long)text, n);
	for (;;)
		(void)call(SYS_EXIT, 0, 0, 0);
}
