package gateway

import (
	"sync/atomic"

	"github.com/kettubot/kapi/internal/wire"
)

// Counters count what gateways do, in atomics. The zero value is ready for use: pass one in
// Options.Counters and read it whenever you like. Several gateways may share one.
type Counters struct {
	connections     atomic.Int64
	sent, coalesced atomic.Uint64
	ended           [len(endings)]atomic.Uint64
}

// Connections returns how many connections are open, identified or not.
func (c *Counters) Connections() int64 { return c.connections.Load() }

// FramesSent returns how many messages were sent, of all kinds; each client's counts.
func (c *Counters) FramesSent() uint64 { return c.sent.Load() }

// Coalesced returns how many updates connections were not sent because a newer one of the
// action had replaced them by the time that the connection could take the next: each
// change counts once for every connection that it was meant for. What a connection had not
// come to when it ended is not among them, nor what a resume is not told because it is old.
func (c *Counters) Coalesced() uint64 { return c.coalesced.Load() }

// An Ending is one way in which connections end.
type Ending struct {
	// Code is the close code that the client was told (docs/gateway.md); 0: the client left, or the
	// network lost it.
	Code int
	// Reason is a word for it, which also tells apart what shares a code.
	Reason string
	// Count is how many connections ended so.
	Count uint64
}

// Endings returns all ways, those that did not happen included, always in the same order.
func (c *Counters) Endings() []Ending {
	all := make([]Ending, len(endings))
	for i, e := range endings {
		all[i] = Ending{int(sentCode(e.code)), e.reason, c.ended[i].Load()}
	}
	return all
}

// end counts the end of a connection.
func (c *Counters) end(code wire.Code) {
	for i := range endings {
		if endings[i].code == code {
			c.ended[i].Add(1)
			return
		}
	}
}

// The words are part of the metrics: don't change them.
var endings = [...]struct {
	code   wire.Code
	reason string
}{
	{clientLeft, "client_left"},
	{wire.CodeUnknown, "unknown_error"},
	{wire.CodeOpcode, "unknown_opcode"},
	{wire.CodeDecode, "decode_error"},
	{wire.CodeNotIdentified, "not_identified"},
	{wire.CodeToken, "bad_token"},
	{wire.CodeIdentified, "identified_already"},
	{wire.CodeSeq, "invalid_seq"},
	{wire.CodeLimit, "too_much"},
	{codeSlow, "too_slow"},
	{codeCrowded, "crowded"},
	{wire.CodeTimeout, "timeout"},
	{wire.CodeRestart, "restart"},
	{wire.CodeVersion, "invalid_version"},
	{wire.CodeIntents, "invalid_intents"},
	{wire.CodeForbidden, "forbidden_intents"},
}
