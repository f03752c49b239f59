/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-origins.h"

const struct origin origins[] = {
	{ ORIGIN_PATCHES, "vgpu-proxmox", "patches that let the host driver take consumer cards",
	  "https://gitlab.com/polloloco/vgpu-proxmox.git", "AGPL-3.0-or-later" },
	{ ORIGIN_UNLOCK, "vgpu_unlock-rs", "library that shows NVIDIA's daemons a professional card",
	  "https://github.com/mbilker/vgpu_unlock-rs.git", "MIT" },
	{ ORIGIN_CRATES, "crates.io", "Rust packages that library is built from", "https://crates.io",
	  "each package its own, see its Cargo.toml" },
	{ ORIGIN_RUST, "Rust toolchain", "builds that library where the distribution's own is too old",
	  "https://static.rust-lang.org", "MIT or Apache-2.0" },
	{ ORIGIN_MIRROR, "foxipan's vGPU mirror", "copies of NVIDIA's host drivers; not NVIDIA's own address",
	  "https://alist.homelabproject.cc", "NVIDIA's; you need an entitlement" },
	{ ORIGIN_LICENSE_SERVER, "FastAPI-DLS", "licence server for guests",
	  "https://git.collinwebdesigns.de/oscar.krause/fastapi-dls", "see the project" },
	{ ORIGIN_LICENSE_PATCHER, "gridd-unlock-patcher",
	  "changes a guest's licence daemon, for 18.0 and newer with that server",
	  "https://git.collinwebdesigns.de/vgpu/gridd-unlock-patcher", "see the project" },
	{ ORIGIN_DOCKER, "Docker Engine", "runs the licence server's container",
	  "https://download.docker.com/linux/debian", "Apache-2.0" },
	{ 0 },
};

const struct origin *origin_find(unsigned bit)
{
	const struct origin *o = origins;

	while (o->bit && o->bit != bit)
		o++;
	return o;
}

int origins_notice(unsigned bits, struct strbuf *out)
{
	bool any = false;

	for (const struct origin *o = origins; o->bit; o++) {
		if (!(o->bit & bits))
			continue;
		if (!any)
			(void)strbuf_puts(
			    out, "This uses the work of others. It is fetched from them for you, is no "
				 "part of nvdriver nor of NVIDIA's product,\n"
				 "and comes with its own licence:\n");
		any = true;
		(void)strbuf_printf(out, "  %s: %s\n    %s (%s)\n", o->name, o->purpose, o->address,
				    o->license);
	}
	return strbuf_error(out);
}

json_t *origins_json(unsigned bits)
{
	json_t *list = json_array();

	for (const struct origin *o = origins; list && o->bit; o++)
		if ((o->bit & bits) &&
		    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", o->name, "purpose",
							  o->purpose, "address", o->address, "license",
							  o->license)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}
