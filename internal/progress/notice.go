package progress

import (
	"math"
	"strconv"
	"strings"
)

// A Notice is one datagram of systemd's notify protocol (sd_notify(3)), reduced to what says how a
// command is doing.
type Notice struct {
	// State is the text of STATUS= (see Text), nil if there is none. "" clears the state.
	State *string
	// Progress is X_KAPI_PROGRESS=, 0 to 1, nil if there is none.
	Progress *float64
	// None: X_KAPI_PROGRESS= had no value, so the command no longer reports progress.
	None bool
	// Unknown: X_KAPI_PROGRESS=unknown, so the progress is not known for now.
	Unknown bool
	// Ready and Stopping are READY=1 and STOPPING=1.
	Ready, Stopping bool
}

// ParseNotice reads a datagram: lines of NAME=value. Unknown names and malformed lines are ignored.
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

// progress takes one value of X_KAPI_PROGRESS. If a datagram has several, a number after "" or
// "unknown" begins a new phase.
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
