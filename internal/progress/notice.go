package progress

import (
	"math"
	"strconv"
	"strings"
)

// A Notice is one datagram of systemd's notify protocol (sd_notify(3)), as far as it says how
// a command is doing.
type Notice struct {
	// State is the text of STATUS=, nil if there is none.
	State *string
	// Progress is X_KAPI_PROGRESS=, 0 to 1, nil if there is none.
	Progress *float64
	// Unknown: X_KAPI_PROGRESS= without a value, so the progress is unknown again.
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
			n.State = &value
		case "READY":
			n.Ready = n.Ready || value == "1"
		case "STOPPING":
			n.Stopping = n.Stopping || value == "1"
		case "X_KAPI_PROGRESS":
			if value == "" {
				n.Unknown, n.Progress = true, nil
			} else if p, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(p) {
				p = min(max(p, 0), 1)
				n.Progress = &p
			}
		}
	}
	return n
}
