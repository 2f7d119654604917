package progress

import (
	"math"
	"strconv"
	"strings"
)

// A Notice is one datagram of systemd's notify protocol (sd_notify(3)), as far as it says how
// a command is doing.
type Notice struct {
	// State is the text of STATUS= (see Text), nil if there is none. An empty one says that there is
	// nothing to say any more.
	State *string
	// Progress is X_KAPI_PROGRESS=, 0 to 1, nil if there is none.
	Progress *float64
	// None: X_KAPI_PROGRESS= without a value, so the command says nothing of it any more.
	None bool
	// Unknown: X_KAPI_PROGRESS=unknown, so the command goes on, and nobody knows how far.
	Unknown bool
	// Ready and Stopping are READY=1 and STOPPING=1.
	Ready, Stopping bool
}

// ParseNotice reads a datagram: lines of NAME=value. What it doesn't know, and what is not
// well formed, says nothing.
func ParseNotice(datagram []byte) (n Notice) {
	for line := range strings.SplitSeq(string(datagram), "\n") {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		switch name {
		case "STATUS":
			state := Text([]byte(value), maxLine)
			n.State = &state
		case "READY":
			n.Ready = n.Ready || value == "1"
		case "STOPPING":
			n.Stopping = n.Stopping || value == "1"
		case "X_KAPI_PROGRESS":
			n.progress(value)
		}
	}
	return n
}

// progress takes a value of X_KAPI_PROGRESS; of several, a number after the others begins a
// new phase.
func (n *Notice) progress(value string) {
	switch value {
	case "":
		n.None, n.Unknown, n.Progress = true, false, nil
	case "unknown":
		n.None, n.Unknown, n.Progress = false, true, nil
	default:
		if p, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(p) && !math.IsInf(p, 0) {
			p = min(max(p, 0), 1)
			n.Progress = &p
		}
	}
}
