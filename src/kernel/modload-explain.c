/* SPDX-License-Identifier: Apache-2.0 */
#include "modload.h"

#include "parse.h"
#include "strbuf.h"

#include <string.h>

/* The errno alone does not separate the cases people must act on differently: the kernel log does. Rows are tried
 * from the top; a row without text is the errno's general meaning. Seen with Linux 6.1 and driver 535. */
static const struct {
	int error;
	const char *log;
	int code;
	const char *reason;
} meanings[] = {
	{ EKEYREJECTED, "unsigned module is rejected", ERR_MODULE_KEY_UNSIGNED,
	  "it is not signed and the kernel demands it" },
	{ EKEYREJECTED, "unavailable key is rejected", ERR_MODULE_KEY_UNAVAILABLE,
	  "it is signed with a key this kernel does not know" },
	{ EKEYREJECTED, "unsupported crypto is rejected", ERR_MODULE_CRYPTO,
	  "the kernel cannot check this hash or key type" },
	{ EKEYREJECTED, NULL, ERR_MODULE_SIG_DAMAGED, "its signature does not fit its content" },
	{ ENOKEY, NULL, ERR_MODULE_KEY_UNAVAILABLE, "it is signed with a key this kernel does not know" },
	{ ENOPKG, NULL, ERR_MODULE_CRYPTO, "the kernel cannot check this hash or key type" },
	{ EBADMSG, NULL, ERR_MODULE_SIG_DAMAGED, "its signature is not readable" },
	{ EPERM, "unsigned module loading is restricted", ERR_MODULE_LOCKDOWN, "the kernel is locked down" },
	{ EPERM, "Lockdown:", ERR_MODULE_LOCKDOWN, "the kernel is locked down" },
	{ EPERM, NULL, ERR_MODULE_PERMISSION, "this process may not load modules" },
	{ ENOEXEC, "disagrees about version of symbol", ERR_MODULE_WRONG_KERNEL,
	  "it was built for another kernel" },
	{ ENOEXEC, "version magic", ERR_MODULE_WRONG_KERNEL, "it was built for another kernel" },
	{ ENOEXEC, NULL, ERR_MODULE_DAMAGED, "it is not a complete module file" },
	{ EINVAL, "disagrees about version of symbol", ERR_MODULE_WRONG_KERNEL,
	  "it was built for another kernel" },
	{ EINVAL, "invalid for parameter", ERR_MODULE_PARAMETER, "a parameter has a bad value" },
	{ EINVAL, "Unknown symbol", ERR_MODULE_SYMBOL, "a symbol it needs is missing" },
	{ EINVAL, NULL, ERR_MODULE_START_REFUSED, "its own start answered \"invalid argument\"" },
	{ ENOENT, "Unknown symbol", ERR_MODULE_SYMBOL, "a symbol it needs is missing" },
	{ ENODEV, "No NVIDIA GPU found", ERR_MODULE_NO_GPU, "there is no NVIDIA GPU" },
	{ ENODEV, "probe routine was not called", ERR_MODULE_GPU_HELD, "another driver holds the GPU" },
	{ ENODEV, "probe routine failed", ERR_MODULE_GPU_UNUSABLE, "the GPU cannot be used" },
	{ ENODEV, "This PCI I/O region", ERR_MODULE_GPU_UNUSABLE, "the GPU's registers cannot be used" },
	{ ENODEV, "Can't find an IRQ", ERR_MODULE_GPU_UNUSABLE, "the GPU has no interrupt" },
	{ ENODEV, NULL, ERR_MODULE_NO_GPU, "there is no GPU it supports" },
	{ EBUSY, NULL, ERR_MODULE_IN_USE, "it is being loaded or unloaded by somebody else" },
};

/* The line of the log that holds `text`, at most 200 bytes of it. */
static struct span log_line(const char *klog, const char *text)
{
	struct span rest = SPAN(klog), line;

	while (span_line(&rest, &line)) {
		if (!memmem(line.p, line.len, text, strlen(text)))
			continue;
		line = span_trim(line);
		return (struct span){ line.p, line.len > 200 ? 200 : line.len };
	}
	return SPAN_NULL;
}

int modload_explain(int error, const char *module, const char *klog, struct err *e)
{
	struct span line = SPAN_NULL;
	size_t i;

	if (error < 0)
		error = -error;
	for (i = 0; i < ARRAY_LEN(meanings); i++)
		if (meanings[i].error == error && (!meanings[i].log || strstr(klog, meanings[i].log)))
			break;
	if (i == ARRAY_LEN(meanings)) {
		err_set(e, ERR_MODULE_LOAD, "%s: %s", module, strerror(error));
		(void)err_object(e, "%s", module);
		return -ERR_MODULE_LOAD;
	}
	if (meanings[i].log)
		line = log_line(klog, meanings[i].log);
	if (line.len)
		err_set(e, meanings[i].code, "%s: %s (kernel: " SPAN_FMT ")", module, meanings[i].reason,
			SPAN_ARG(line));
	else
		err_set(e, meanings[i].code, "%s: %s", module, meanings[i].reason);
	(void)err_object(e, "%s", module);
	return -meanings[i].code;
}
