package main

import (
	"context"
	"io"
	"os"
	"sync/atomic"

	"github.com/kettubot/kapi"
)

// kapiFaulty is kapi with a fault: kapi-faulty WHERE ARG... runs kapi ARG... and panics once, at the place
// that WHERE names and with that word.
func kapiFaulty() {
	f := &fuse{where: os.Args[1]}
	a := &app{stdout: os.Stdout, stderr: &faultyWriter{f, os.Stderr}}
	a.around = func(p place) place { return &faultyPlace{p, f} }
	os.Exit(a.main(os.Args[2:]))
}

type fuse struct {
	where string
	blown atomic.Bool
}

func (f *fuse) at(where string) {
	if where == f.where && f.blown.CompareAndSwap(false, true) {
		panic(where)
	}
}

type faultyWriter struct {
	*fuse
	to io.Writer
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	w.at("stderr")
	return w.to.Write(p)
}

type faultyPlace struct {
	place
	*fuse
}

func (p *faultyPlace) do(ctx context.Context, s kapi.Spec, op kapi.Operation) error {
	p.at("start")
	err := p.place.do(ctx, s, func(ctx context.Context, h kapi.Handle) error {
		return op(ctx, &faultyHandle{h, p.fuse})
	})
	p.at("record")
	return err
}

func (p *faultyPlace) List(ctx context.Context) ([]kapi.Action, error) {
	p.at("list")
	return p.place.List(ctx)
}

type faultyHandle struct {
	kapi.Handle
	*fuse
}

func (h *faultyHandle) Fence() uint64 {
	h.at("launch")
	return h.Handle.Fence()
}

func (h *faultyHandle) SetExitCode(code int) {
	h.at("exit")
	h.Handle.SetExitCode(code)
}

func (h *faultyHandle) SetProgress(p float64) {
	h.at("progress")
	h.Handle.SetProgress(p)
}

func (h *faultyHandle) Impacted(reason string) error {
	h.at("impacted")
	return h.Handle.Impacted(reason)
}
