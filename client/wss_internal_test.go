package client

import "testing"

func TestTokensThatCameOverTLSStayThere(t *testing.T) {
	for in, want := range map[string]string{
		"ws://h/gateway": "wss://h/gateway", "wss://h/gateway": "wss://h/gateway", "https://ws://": "https://ws://",
		"WS://h/gateway": "wss://h/gateway", "http://h/gateway": "wss://h/gateway", "Http://ws://": "wss://ws://",
	} {
		if got := wss(in); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}
