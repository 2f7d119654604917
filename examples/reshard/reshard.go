package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

// define declares the operation for a runner that reaches Redis as c says.
func define(c config, log *slog.Logger) kapi.Definition {
	return operation.Define(operation.Of[arguments]{
		Name: "reshard", Title: "Resharding",
		Description: "Moves slots of a Redis Cluster from one master to another, with their keys, while clients use them.",
		Refine:      refine,
		Version:     1, Reads: 1,
		Resume: &kapi.Resume{},
		Keys:   func(a arguments) ([]string, error) { return []string{"reshard:" + a.Cluster}, nil },
		Preflight: func(ctx context.Context, a arguments) (kapi.Preview, error) {
			cluster := newCluster(c, a.Addrs)
			defer cluster.close()
			return preflight(ctx, cluster, a)
		},
		Run: func(ctx context.Context, h kapi.OperationHandle, a arguments) error {
			cluster := newCluster(c, a.Addrs)
			defer cluster.close()
			m := &mover{h: h, log: log.With("action", h.ID()), cluster: cluster, args: a, where: "the cluster"}
			return m.run(ctx)
		},
	})
}

// run moves all slots, or those that are left.
func (m *mover) run(ctx context.Context) error {
	m.h.SetState("looking at the cluster")
	if err := m.retry(ctx, func(bool) error { return m.prepare(ctx) }); err != nil {
		return err
	}
	var at checkpoint
	resumed, err := m.h.Restore(&at)
	if err != nil {
		return err
	}
	slots := len(m.plan.slots)
	for i := at.Next; i < slots; i++ {
		m.index, m.begun, m.opened, m.moved = i, false, "", 0
		m.where = fmt.Sprintf("slot %d (%d of %d)", m.plan.slots[i], i+1, slots)
		if resumed && i == at.Next {
			m.begun, m.opened = true, at.Opened
		} else if err := m.h.Proceed(ctx); err != nil { // between slots a cancel takes effect at once
			return err
		}
		if err := m.move(ctx); err != nil {
			return err
		}
	}
	m.where = "waiting until all nodes know"
	m.h.SetState(m.where)
	if err := m.retry(ctx, func(bool) error { return m.agreed(ctx) }); err != nil {
		return err
	}
	m.h.SetProgress(1)
	return nil
}

// prepare learns the addresses of the masters, and restores the plan or makes one.
func (m *mover) prepare(ctx context.Context) error {
	v, err := m.cluster.discover(ctx)
	if err != nil {
		return err
	}
	m.know(v)
	m.plan = &plan{}
	found, err := m.h.Load("plan", m.plan)
	if err != nil {
		return &halt{err}
	}
	if found {
		m.plan.slots, err = parseSlots(m.plan.Slots)
		return err
	}
	if m.plan, err = newPlan(m.args, v); err != nil {
		return refuse("%v", err)
	}
	if err := m.h.Save("plan", m.plan); err != nil {
		return &halt{err}
	}
	return nil
}

func (m *mover) know(v *view) {
	m.addrs = map[string]string{}
	for _, n := range v.nodes {
		if n.is("master") && !n.is("noaddr") {
			m.addrs[n.id] = n.addr()
		}
	}
}

// locate looks up the masters' addresses again: a node that has failed may have come back elsewhere.
func (m *mover) locate(ctx context.Context) {
	v, err := m.cluster.discover(context.WithoutCancel(ctx))
	if err != nil {
		m.log.Warn("the nodes could not be looked up", "error", err)
		return
	}
	m.know(v)
}

// agreed returns an error while any master doesn't know that the target owns the slots.
func (m *mover) agreed(ctx context.Context) error {
	for _, addr := range m.addrs {
		v, err := m.cluster.see(ctx, addr)
		if err != nil {
			return err
		}
		for _, slot := range m.plan.slots {
			if idOf(v.owner[slot]) != m.plan.To {
				return fmt.Errorf("%s still thinks that slot %d belongs to %s", addr, slot, cmp.Or(short(idOf(v.owner[slot])), "nobody"))
			}
			if v.openOf(slot) != nil {
				return fmt.Errorf("%s still has slot %d open", addr, slot)
			}
		}
	}
	return nil
}
