package client

import "testing"

func TestTokensThatCameOverTLSStayThere(t *testing.T) {
	for in, want := range map[string]string{
		"ws://h/gateway": "wss://h/gateway", "wss://h/gateway": "wss://h/gateway", "http://ws://": "http://ws://",
	} {
		if got := wss(in); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}
