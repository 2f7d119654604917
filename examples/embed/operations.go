package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

// A mailing knows the customers, and delivers mails to a folder. It stands in for your own service.
type mailing struct {
	outbox    string
	customers []string // addresses, in order
}

func customers() (all []string) {
	for i := range 300 {
		all = append(all, fmt.Sprintf("customer-%03d@example.com", i+1))
	}
	return all
}

// newsletter has the arguments of the operation of that name.
type newsletter struct {
	Subject string `json:"subject" jsonschema:"what it is about"`
	Rate    int    `json:"rate,omitempty" jsonschema:"mails a second"`
}

// newsletter is the operation that sends one mail to each customer. If its process dies, another one goes on after the
// customer who got the last mail.
func (m *mailing) newsletter() kapi.Definition {
	return operation.Define(operation.Of[newsletter]{
		Name: "newsletter", Title: "Newsletter", Description: "Sends a mail to each customer.",
		Refine: func(s *jsonschema.Schema) {
			s.Properties["subject"].MinLength, s.Properties["subject"].MaxLength = new(1), new(100)
			limitRate(s, 10)
		},
		Keys:   func(newsletter) ([]string, error) { return []string{"newsletter"}, nil },
		Resume: &kapi.Resume{},
		Retry:  kapi.Retry{Attempts: 3},
		Preflight: func(_ context.Context, n newsletter) (kapi.Preview, error) {
			if _, err := os.Stat(m.outbox); err != nil {
				return kapi.Preview{}, fmt.Errorf("no mail can be sent: %w", err)
			}
			return kapi.Preview{Lines: []string{fmt.Sprintf("sends %q to %d customers, %d a second", n.Subject, len(m.customers), n.Rate)}}, nil
		},
		Run: m.send,
	})
}

func (m *mailing) send(ctx context.Context, h kapi.OperationHandle, n newsletter) error {
	// Before each customer, Each calls h.Proceed, which waits while the action is paused. After each, it stores a
	// checkpoint: the customer.
	return operation.Each(ctx, h, "customers", m.customersAfter, func(ctx context.Context, customer string) error {
		if err := pace(ctx, n.Rate); err != nil {
			return err // cancelled, or stopped
		}
		// If the process dies before the checkpoint is stored, this mail is sent again. Its name is the same then, and
		// so is the file. A real mail server would be given the name as the Message-ID.
		name := h.Origin() + "." + customer
		if err := os.WriteFile(filepath.Join(m.outbox, name), []byte("Subject: "+n.Subject+"\n"), 0o600); err != nil {
			return err // tried again, as Retry says
		}
		sent, _ := slices.BinarySearch(m.customers, customer)
		h.SetProgress(float64(sent+1) / float64(len(m.customers)))
		return nil
	}, operation.EachOptions{})
}

// customersAfter returns the customers behind the last one, or all if there is none.
func (m *mailing) customersAfter(_ context.Context, last *string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, customer := range m.customers {
			if (last == nil || customer > *last) && !yield(customer, nil) {
				return
			}
		}
	}
}

// export has the arguments of the operation of that name.
type export struct {
	Format string `json:"format,omitempty" jsonschema:"of the file"`
	Rate   int    `json:"rate,omitempty" jsonschema:"customers a second"`
}

// export is the operation that writes the customers to a file. Only two may work at once, and what ends with its process
// is started again by whoever needs it.
func (m *mailing) export(folder string) kapi.Definition {
	return operation.Define(operation.Of[export]{
		Name: "export", Title: "Export", Description: "Writes the addresses of all customers to a file.",
		Refine: func(s *jsonschema.Schema) {
			s.Properties["format"].Enum, s.Properties["format"].Default = []any{"json", "text"}, json.RawMessage(`"json"`)
			limitRate(s, 50)
		},
		Limit: 2,
		Run: func(ctx context.Context, h kapi.OperationHandle, e export) error {
			var read []string
			for _, customer := range m.customers {
				if err := pace(ctx, e.Rate); err != nil {
					return err
				}
				read = append(read, customer)
				h.SetProgress(float64(len(read)) / float64(len(m.customers)))
			}
			data := []byte(strings.Join(read, "\n") + "\n")
			if e.Format == "json" {
				var err error
				if data, err = json.Marshal(read); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(folder, "export-"+h.ID()+"."+e.Format), data, 0o600)
		},
	})
}

// limitRate gives the argument rate a default and limits.
func limitRate(s *jsonschema.Schema, byDefault int) {
	rate := s.Properties["rate"]
	rate.Minimum, rate.Maximum, rate.Default = new(1.0), new(1000.0), json.RawMessage(fmt.Sprint(byDefault))
}

// pace waits for the next item at a rate, so that the work doesn't take all of the service. It returns early, with the
// reason, if ctx ends.
func pace(ctx context.Context, rate int) error {
	select {
	case <-time.After(time.Second / time.Duration(rate)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
