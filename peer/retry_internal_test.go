package peer

import (
	"testing"
	"time"

	"github.com/kettubot/kapi"
)

func TestRetryPause(t *testing.T) {
	retry := kapi.Retry{First: time.Second, Most: 10 * time.Second}
	for _, tt := range []struct {
		retry         kapi.Retry
		failed        int
		lowest, above time.Duration
	}{
		{retry, 1, time.Second, 1500 * time.Millisecond},
		{retry, 2, 2 * time.Second, 3 * time.Second},
		{retry, 3, 4 * time.Second, 6 * time.Second},
		{retry, 4, 8 * time.Second, 10 * time.Second},
		{retry, 1000, 7500 * time.Millisecond, 10 * time.Second},
		{kapi.Retry{}, 1, time.Second, 1500 * time.Millisecond},
		{kapi.Retry{}, 1000, 45 * time.Second, time.Minute},
		{kapi.Retry{First: time.Hour}, 5, time.Hour, time.Hour},
		{kapi.Retry{First: time.Minute, Most: time.Second}, 5, time.Minute, time.Minute},
	} {
		for _, random := range []float64{0, 0.5, 1} {
			want := tt.lowest + time.Duration(random*float64(tt.above-tt.lowest))
			if got := retryPause(tt.retry, tt.failed, random); got != want {
				t.Errorf("%+v, attempt %d: %v, want %v", tt.retry, tt.failed, got, want)
			}
		}
	}
}
