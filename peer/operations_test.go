package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// A definition that is wrong, or there twice, refuses to open the peer, by name.
func TestWrongDefinitions(t *testing.T) {
	good := kapi.Definition{Name: "reshard", Title: "Resharding", Run: func(context.Context, kapi.OperationHandle, json.RawMessage) error { return nil }}
	wrong := good
	wrong.Name, wrong.Run = "empty", nil
	for want, all := range map[string][]kapi.Definition{
		`operation "reshard" is defined twice`: {good, good},
		`operation "empty" has no Run`:         {good, wrong},
	} {
		_, err := peer.Open(t.Context(), newStore(t), peer.Options{Operations: all})
		var invalid *kapi.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("opened with %v, want %s", err, want)
		}
	}
	openLight(t, newStore(t), peer.Options{Operations: []kapi.Definition{good}})
}
