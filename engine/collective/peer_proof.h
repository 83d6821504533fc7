#pragma once

#include "engine/collective/wire_format.h"

// How ranks show each other on a TCP connection that they know the epoch's session key, without
// sending it. Each proof is HMAC-SHA256 under the key over a label and the records so far, so that
// none can be used in another place; each side's fresh nonce is in them, so that none can be used
// again.
//
// This authenticates the connection's ends when it is made. The payload that follows is neither
// encrypted nor authenticated: who can change bytes on the cable between the ranks can change sums,
// which the digests of a step then show.
namespace sparkspan::engine::collective {

// From the system's randomness.
Nonce NewNonce();

// Of the rank that connects, in its hello: a stranger's hello is refused before anything is done
// for it.
Proof ProveHello(const SessionKey& key, const Hello& hello);

// Of the rank that accepts, in its welcome: it knows the key and has read this very hello.
Proof ProveWelcome(const SessionKey& key, const Hello& hello, const Welcome& welcome);

// Of the rank that connects, about the welcome: its hello is no recording of an earlier one.
Proof ProveAnswer(const SessionKey& key, const Hello& hello, const Welcome& welcome);

}  // namespace sparkspan::engine::collective
