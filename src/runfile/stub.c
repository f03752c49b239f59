/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell text in front of a payload we pack. Tools that know published packages read its header by line number
 * and call it with published arguments, so both are kept; the text is ours. nvdriver itself never runs it. */
#include "packer.h"

#include <string.h>
#include <time.h>

#define HISTORY_MAX_BYTES ((size_t)32 << 10)
#define HISTORY_END	  "NVD_END_OF_HISTORY"

/* What follows the assignments. %-free on purpose: facts reach it through variables and the info text only. */
static const char stub_code[] =
    "SELF=$0\n"
    "me=`basename \"$SELF\"`\n"
    "\n"
    "say() { echo \"$me: $*\" >&2; }\n"
    "die() { status=$1; shift; say \"$*\"; exit \"$status\"; }\n"
    "\n"
    "# Everything the sums cover: line 4 to the end of this file.\n"
    "summed() { tail -n +4 \"$SELF\"; }\n"
    "payload() { tail -n +\"$skip\" \"$SELF\"; }\n"
    "embedded() { tail -n +\"$skip_decompress\" \"$SELF\" | head -n \"$size_decompress\"; }\n"
    "\n"
    "check_crc() {\n"
    "\t[ \"$SETUP_NOCHECK\" = 1 ] && return 0\n"
    "\tfound=`summed | cksum | cut -d ' ' -f 1`\n"
    "\t[ \"$found\" = \"$CRCsum\" ] || { say \"CRC is $found, expected $CRCsum\"; return 1; }\n"
    "}\n"
    "check_md5() {\n"
    "\t[ \"$MD5\" = 00000000000000000000000000000000 ] && return 0\n"
    "\tcommand -v md5sum >/dev/null 2>&1 || { say \"md5sum not found, MD5 not checked\"; return 0; }\n"
    "\tfound=`summed | md5sum | cut -d ' ' -f 1`\n"
    "\t[ \"$found\" = \"$MD5\" ] || { say \"MD5 is $found, expected $MD5\"; return 1; }\n"
    "}\n"
    "check() { check_crc && check_md5; }\n"
    "\n"
    "scratch=\n"
    "clean_up() { if [ -n \"$scratch\" ]; then rm -rf \"$scratch\"; fi; scratch=; }\n"
    "trap clean_up 0\n"
    "trap 'exit 15' 1 2 15\n"
    "make_scratch() {\n"
    "\t[ -n \"$scratch\" ] && return 0\n"
    "\tscratch=`mktemp -d \"$TMPROOT/nvd-pack.XXXXXXXXXX\"` || die 1 \"cannot create a directory in "
    "$TMPROOT\"\n"
    "}\n"
    "\n"
    "# The system's program first; the embedded copy, made for another system perhaps, when there is none.\n"
    "find_decoder() {\n"
    "\tcase $compression in none) decoder=cat; return 0 ;; esac\n"
    "\tif command -v \"$compression\" >/dev/null 2>&1; then decoder=$compression; return 0; fi\n"
    "\t[ \"$size_decompress\" -gt 0 ] || die 1 \"the program $compression is needed to unpack this file\"\n"
    "\tmake_scratch\n"
    "\tembedded >\"$scratch/decoder\" && chmod 700 \"$scratch/decoder\" || die 1 \"cannot copy the "
    "decompressor\"\n"
    "\tdecoder=$scratch/decoder\n"
    "}\n"
    "decode() { if [ \"$decoder\" = cat ]; then payload; else payload | \"$decoder\" -dc; fi; }\n"
    "\n"
    "# Both ends of the pipe have to succeed.\n"
    "unpack_into() {\n"
    "\tfind_decoder\n"
    "\tresult=`{ { decode; echo d$? >&3; } | (cd \"$1\" && tar -xof -) >&2; echo t$? >&3; } 3>&1`\n"
    "\tcase $result in *[dt][1-9]*) return 1 ;; esac\n"
    "}\n"
    "\n"
    "help() {\n"
    "\techo \"$label\"\n"
    "\techo\n"
    "\techo \"$me [option]... [arguments of $script]\"\n"
    "\techo \"  --info, --list, --check           describe, list or verify this file\"\n"
    "\techo \"  -x, --extract-only                unpack into $targetdir and stop\"\n"
    "\techo \"  --target DIR                      unpack into DIR and keep it\"\n"
    "\techo \"  --keep                            keep the directory after the program ran\"\n"
    "\techo \"  --tmpdir DIR                      directory for temporary files\"\n"
    "\techo \"  --extract-decompress              write the embedded decompressor to standard output\"\n"
    "\techo \"  --lsm, --pkg-history, --label, --version-string, --pkg-version, --target-os,\"\n"
    "\techo \"  --target-arch, --target-directory, --script   print that and leave\"\n"
    "\techo \"Everything else is handed to $script, which runs in the unpacked directory.\"\n"
    "}\n"
    "\n"
    "case $1 in\n"
    "-help | --help | -h | -A | --advanced-options) help; exit 0 ;;\n"
    "-lsm | --lsm) echo \"no LSM\"; exit 0 ;;\n"
    "--pkg-history) echo; history; echo; exit 0 ;;\n"
    "--label) echo \"$label\"; exit 0 ;;\n"
    "--version-string) echo \"$version_string\"; exit 0 ;;\n"
    "--pkg-version) echo \"$pkg_version\"; exit 0 ;;\n"
    "--target-os) echo \"$TARGET_OS\"; exit 0 ;;\n"
    "--target-arch) echo \"$TARGET_ARCH\"; exit 0 ;;\n"
    "--target-directory) echo \"$targetdir\"; exit 0 ;;\n"
    "--script) echo \"$script\"; exit 0 ;;\n"
    "--info) info; exit 0 ;;\n"
    "--list) find_decoder; echo \"Target directory: $targetdir\"; decode | tar -tvf -; exit $? ;;\n"
    "--extract-decompress) [ \"$size_decompress\" -gt 0 ] || exit 1; embedded; exit 0 ;;\n"
    "--check) if check; then echo \"$me: sums match\"; exit 0; else exit 2; fi ;;\n"
    "esac\n"
    "\n"
    "only=n\n"
    "target=\n"
    "count=$#\n"
    "while [ \"$count\" -gt 0 ]; do\n"
    "\targ=$1\n"
    "\tshift\n"
    "\tcount=$((count - 1))\n"
    "\tcase $arg in\n"
    "\t-x | --extract-only) only=y; keep=y ;;\n"
    "\t--keep) keep=y ;;\n"
    "\t--target | --tmpdir)\n"
    "\t\t[ \"$count\" -gt 0 ] || die 1 \"$arg needs a directory\"\n"
    "\t\tif [ \"$arg\" = --target ]; then target=$1; keep=y; else TMPROOT=$1; set -- \"$@\" --tmpdir \"$1\"; "
    "fi\n"
    "\t\tshift\n"
    "\t\tcount=$((count - 1)) ;;\n"
    "\t--add-this-kernel | --apply-patch) die 1 \"$arg is not done by this file; see nvdriver runfile "
    "patch\" ;;\n"
    "\t*) set -- \"$@\" \"$arg\" ;;\n"
    "\tesac\n"
    "done\n"
    "\n"
    "[ \"$keep\" = y ] && [ -z \"$target\" ] && target=./$targetdir\n"
    "if [ -n \"$target\" ]; then\n"
    "\tcase $target in /*) ;; *) target=`pwd`/$target ;; esac\n"
    "\t[ ! -e \"$target\" ] || [ -z \"`ls -A \"$target\"`\" ] || die 1 \"$target exists already\"\n"
    "fi\n"
    "[ \"$only\" = y ] || [ \"`uname -s`\" = \"$TARGET_OS\" ] || die 1 \"this package is for $TARGET_OS\"\n"
    "case $SELF in /*) ;; *) SELF=`pwd`/$SELF ;; esac\n"
    "check || exit 2\n"
    "if [ -n \"$target\" ]; then\n"
    "\thad=n\n"
    "\t[ -d \"$target\" ] && had=y\n"
    "\tmkdir -p \"$target\" || die 1 \"cannot create $target\"\n"
    "\tunpack_into \"$target\" || { [ $had = y ] || rm -rf \"$target\"; die 15 \"cannot unpack the "
    "payload\"; }\n"
    "else\n"
    "\tmake_scratch\n"
    "\ttarget=$scratch/$targetdir\n"
    "\tmkdir \"$target\" && unpack_into \"$target\" || die 15 \"cannot unpack the payload\"\n"
    "fi\n"
    "[ \"$only\" = y ] && exit 0\n"
    "cd \"$target\" || exit 1\n"
    "$script $scriptargs \"$@\"\n"
    "exit $?\n";

static int refuse(struct err *e, const char *name, const char *value)
{
	return err_set(e, -ERR_PACK_INPUT, "%s=%s does not fit the package's header", name, value);
}

static bool only_holds(const char *s, const char *extra)
{
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
		      strchr(extra, *s)))
			return false;
	return true;
}

/* Text between double quotes must mean itself to every shell. */
static bool quotable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f || strchr("\"$`\\", *s))
			return false;
	return true;
}

static int check_facts(const struct stub_facts *f, struct err *e)
{
	if (!quotable(f->label) || strlen(f->label) > 1000)
		return refuse(e, "label", f->label);
	if (!quotable(f->scriptargs) || strlen(f->scriptargs) > 1000)
		return refuse(e, "scriptargs", f->scriptargs);
	if (!version_is_valid(f->version))
		return refuse(e, "version_string", f->version);
	if (!f->pkg_version[0] || !only_holds(f->pkg_version, ".-_+"))
		return refuse(e, "pkg_version", f->pkg_version);
	if (!f->script[0] || !only_holds(f->script, "./_-+"))
		return refuse(e, "script", f->script);
	if (!name_is_safe(f->targetdir))
		return refuse(e, "targetdir", f->targetdir);
	if (!f->target_arch[0] || !only_holds(f->target_arch, "_-"))
		return refuse(e, "TARGET_ARCH", f->target_arch);
	return 0;
}

int stub_sums(uint64_t crc, const char *md5, struct strbuf *out)
{
	if (crc != STUB_CRC_UNKNOWN)
		return strbuf_printf(out, "#! /bin/sh\nCRCsum=%llu\nMD5=%s\n", (unsigned long long)crc, md5);
	return strbuf_printf(out, "#! /bin/sh\nCRCsum=0000000000\nMD5=%s\n", md5);
}

static void add_assignments(const struct stub_facts *f, uint64_t lines, struct strbuf *out)
{
	uint64_t skip_decompress = lines + 1;

	(void)strbuf_printf(out, "skip=%llu\nskip_decompress=%llu\nsize_decompress=%llu\n",
			    (unsigned long long)(skip_decompress + f->decompressor_lines),
			    (unsigned long long)skip_decompress, (unsigned long long)f->decompressor_lines);
	(void)strbuf_printf(
	    out,
	    "label=\"%s\"\nversion_string=%s\npkg_version=%s\nscript=%s\ntargetdir=%s\nscriptargs=\"%s\"\n",
	    f->label, f->version, f->pkg_version, f->script, f->targetdir, f->scriptargs);
	(void)strbuf_puts(
	    out, "keep=n\nadd_this_kernel=n\napply_patch=n\nTMPROOT=${TMPDIR:=/tmp}\nTARGET_OS=\"Linux\"\n");
	(void)strbuf_printf(out, "TARGET_ARCH=\"%s\"\n#\n# %s\n# Generated by Makeself 1.6.0-nvdriver-%s\n\n",
			    f->target_arch, f->label, NVDRIVER_VERSION);
}

static void add_info(const struct stub_facts *f, struct strbuf *out)
{
	char date[64] = "";
	time_t t = (time_t)f->date_s;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		(void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", &tm);
	(void)strbuf_printf(out,
			    "compression=%s\ninfo() {\n\techo \"  Identification    : $label\"\n"
			    "\techo \"  Target directory  : $targetdir\"\n",
			    compression_name(f->compression));
	(void)strbuf_printf(out,
			    "\techo \"  Uncompressed size : %llu KB\"\n\techo \"  Compression       : %s\"\n"
			    "\techo \"  Date of packaging : %s\"\n",
			    (unsigned long long)f->unpacked_kb, compression_name(f->compression), date);
	(void)strbuf_puts(out, "\techo \"  Application run after extraction : $script $scriptargs\"\n\techo\n"
			       "\techo \"The unpacked directory is removed after the program has run, unless "
			       "it is to be kept.\"\n}\n");
}

/* The history as a quoted here-document; what could end it early or is not text becomes a question mark. */
static void add_history(const struct stub_facts *f, struct strbuf *out)
{
	struct span rest = f->history ? SPAN(f->history) : SPAN(""), line;

	if (rest.len > HISTORY_MAX_BYTES)
		rest.len = HISTORY_MAX_BYTES;
	(void)strbuf_puts(out, "history() {\n\tcat <<'" HISTORY_END "'\n");
	while (span_line(&rest, &line)) {
		if (span_eq(line, HISTORY_END))
			line = SPAN("?");
		for (size_t i = 0; i < line.len; i++)
			(void)strbuf_putc(out, ((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t') ||
						       line.p[i] == 0x7f
						   ? '?'
						   : line.p[i]);
		(void)strbuf_putc(out, '\n');
	}
	(void)strbuf_puts(out, HISTORY_END "\n}\n");
}

static uint64_t count_lines(const struct strbuf *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < b->len; i++)
		n += b->buf[i] == '\n';
	return n;
}

int stub_make(const struct stub_facts *f, struct strbuf *out, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf tail = STRBUF_INIT(RUNFILE_HEADER_MAX_BYTES / 2),
					     head = STRBUF_INIT(16384);
	int r = check_facts(f, e);

	if (r < 0)
		return r;
	add_info(f, &tail);
	add_history(f, &tail);
	(void)strbuf_puts(&tail, stub_code);
	(void)strbuf_puts(&tail, RUNFILE_STUB_END);
	/* The number of lines does not depend on the numbers in them. */
	(void)stub_sums(f->crc, f->md5, &head);
	add_assignments(f, 0, &head);
	(void)strbuf_error(&head);
	r = (int)(count_lines(&head) + count_lines(&tail));
	strbuf_reset(&head);
	(void)stub_sums(f->crc, f->md5, &head);
	add_assignments(f, (uint64_t)r, &head);
	(void)strbuf_append(out, strbuf_str(&head), head.len);
	(void)strbuf_append(out, strbuf_str(&tail), tail.len);
	r = strbuf_error(&head) < 0   ? strbuf_error(&head)
	    : strbuf_error(&tail) < 0 ? strbuf_error(&tail)
				      : strbuf_error(out);
	return r < 0 ? err_errno(e, r, "cannot make the package's header") : 0;
}
