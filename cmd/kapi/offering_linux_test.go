package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// kapiOffering is a program that offers operations: kapi-offering [HOST:PORT] opens $KAPI_STORE, and offers them until it
// gets SIGINT. At the address it serves the store, to anybody.
func kapiOffering() {
	if err := offer(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func offer(args []string) error {
	ctx, stop := untilSignal()
	defer stop()
	store, err := sqlite.Open(strings.TrimPrefix(os.Getenv("KAPI_STORE"), "sqlite:"))
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	p, err := peer.Open(ctx, store, peer.Options{Operations: offered(), Logger: log})
	if err != nil {
		return err
	}
	if len(args) > 0 {
		anybody := func(*http.Request) (auth.Identity, error) {
			return auth.Identity{ID: "1", Name: "ann", Permissions: auth.Admin}, nil
		}
		s := &http.Server{Addr: args[0], Handler: server.New(p, server.Options{Authenticate: anybody, Logger: log})}
		go func() { _ = s.ListenAndServe() }()
		defer s.Close()
	}
	<-ctx.Done()
	return p.Close()
}

// resharding are the arguments of reshard.
type resharding struct {
	Slots  int             `json:"slots" jsonschema:"how many slots to move"`
	Nodes  []string        `json:"nodes,omitempty" jsonschema:"where they may go"`
	Sizes  []int           `json:"sizes,omitempty"`
	Force  bool            `json:"force,omitempty"`
	Rate   float64         `json:"rate" jsonschema:"slots a second"`
	Mode   string          `json:"mode,omitempty"`
	Target target          `json:"target,omitzero"`
	Labels map[string]bool `json:"labels,omitempty"`
	Until  string          `json:"until,omitempty" jsonschema:"a file: it works until there is one"`
	Fail   string          `json:"fail,omitempty" jsonschema:"why it fails in the end"`
}

type target struct {
	Host string `json:"host" jsonschema:"its name"`
	Port int    `json:"port,omitempty"`
}

func offered() []kapi.Definition {
	return []kapi.Definition{
		operation.Define(operation.Of[resharding]{
			Name: "reshard", Title: "Resharding", Description: "Moves slots between the nodes of a cluster.", Resume: &kapi.Resume{},
			Refine: func(s *jsonschema.Schema) {
				s.Properties["slots"].Minimum, s.Properties["slots"].Maximum = new(1.0), new(16384.0)
				s.Properties["rate"].Default = json.RawMessage(`1.5`)
				s.Properties["mode"].Enum = []any{"copy", "move"}
			},
			Keys: func(r resharding) ([]string, error) { return []string{"reshard"}, nil },
			Preflight: func(_ context.Context, r resharding) (kapi.Preview, error) {
				if r.Slots == 13 {
					return kapi.Preview{}, errors.New("13 slots are bad luck")
				}
				return kapi.Preview{Lines: []string{fmt.Sprintf("moves %d slots", r.Slots), "then\x1b[31m checks them"}}, nil
			},
			Run: runResharding,
		}),
		{Name: "audit", Title: "Audit", Limit: 1, Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			return untilThere(ctx, h, "audited")
		}},
	}
}

func runResharding(ctx context.Context, h kapi.OperationHandle, r resharding) error {
	all, err := json.Marshal(r)
	if err != nil {
		return err
	}
	h.SetState(string(all))
	h.SetProgress(0.5)
	if r.Until != "" {
		if err := untilThere(ctx, h, r.Until); err != nil {
			return err
		}
	}
	if r.Fail != "" {
		return errors.New(r.Fail)
	}
	return nil
}

// untilThere works until a file exists.
func untilThere(ctx context.Context, h kapi.OperationHandle, file string) error {
	for {
		if err := h.Proceed(ctx); err != nil {
			return err
		}
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
