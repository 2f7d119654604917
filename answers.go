package kapi

import "bytes"

// A start that its sender may repeat is answered once, and the same again.

// answered looks for the answer that a start got before; done is false if there is none.
func (pl *plan) answered(c *change, o *outcome) (done bool, err error) {
	if c.asked == nil {
		return false, nil
	}
	for i := range pl.answers {
		if before := &pl.answers[i]; before.Request == c.asked.Request {
			if !bytes.Equal(before.Hash, c.asked.Hash) {
				return true, ErrOtherRequest
			}
			o.kept = before
			return true, nil
		}
	}
	return false, nil
}

// keepAnswer keeps what a start is answered.
func (pl *plan) keepAnswer(c *change, o *outcome) error {
	if c.asked == nil {
		return nil
	}
	body, err := pl.limits.answer(&o.record)
	if err != nil {
		return err
	}
	kept := *c.asked
	kept.Action, kept.Body = o.record.ID, body
	o.kept = &kept
	pl.answers = append(pl.answers, kept)
	pl.newAnswers = append(pl.newAnswers, kept)
	return nil
}
