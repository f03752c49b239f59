/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A public key made by gpg for tests, in pieces. */

#define TESTKEY_FINGERPRINT "BFB6A87935ACC01BB189CD348B29E098CDD5C268"
#define TESTKEY_HEAD	    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
#define TESTKEY_BODY                                                                                         \
	"mDMEawHFvhYJKwYBBAHaRw8BAQdAso8E68zzFwUOUlbCbFROp+S9Zhh2zdTMN106\n"                                 \
	"g3C0pBy0HENVREEgdGVzdCA8Y3VkYUBleGFtcGxlLmNvbT6IkAQTFggAOBYhBL+2\n"                                 \
	"qHk1rMAbsYnNNIsp4JjN1cJoBQJrAcW+AhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4B\n"                                 \
	"AheAAAoJEIsp4JjN1cJozEAA/0UgijxqZ+cq4m58OF9svPWJllrzwo2Vte5gzmGA\n"                                 \
	"I+XjAP98g0luRSpFC58gGRux6mWm6T2N45iBAeX+7VUdf7gpCQ==\n"
#define TESTKEY_SUM  "=RPnX\n"
#define TESTKEY_TAIL "-----END PGP PUBLIC KEY BLOCK-----\n"
#define TESTKEY	     TESTKEY_HEAD "\n" TESTKEY_BODY TESTKEY_SUM TESTKEY_TAIL
