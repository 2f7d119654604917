package gateway

import (
	"sync/atomic"

	"github.com/kettubot/kapi/internal/wire"
)

// Counters count what gateways do. The zero value is ready for use: pass one in Options.Counters. All
// methods may be called concurrently. Several gateways may share one.
type Counters struct {
	connections     atomic.Int64
	sent, coalesced atomic.Uint64
	ended           [len(endings)]atomic.Uint64
}

// Connections returns how many connections are open, identified or not.
func (c *Counters) Connections() int64 { return c.connections.Load() }

// FramesSent returns how many messages of all kinds were sent, in total over all clients.
func (c *Counters) FramesSent() uint64 { return c.sent.Load() }

// Coalesced returns how many updates were not sent because a newer one of the same action replaced them
// before the connection could take them. A change counts once for every connection that didn't get it.
// Updates still waiting when a connection ends don't count, nor do those that a resume leaves out.
func (c *Counters) Coalesced() uint64 { return c.coalesced.Load() }

// An Ending counts one way in which connections end.
type Ending struct {
	// Code is the close code that was sent to the client (docs/gateway.md), or 0 if the client left or
	// the connection was lost.
	Code int
	// Reason is a word for it, which is unique even where several share a code.
	Reason string
	// Count is how many connections ended this way.
	Count uint64
}

// Endings returns all ways in which connections end, even those that never happened, always in the same order.
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

// The reasons are labels of the metrics: don't change them.
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
