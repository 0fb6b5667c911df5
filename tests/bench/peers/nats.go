// Sends events to a JetStream stream and prints one JSON object: events acknowledged a second and the time to each
// acknowledgement. usage: peer URL EVENTS CONNECTIONS IN_FLIGHT SECONDS
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func main() {
	url, connections, inFlight := os.Args[1], number(os.Args[3]), number(os.Args[4])
	text, err := os.ReadFile(os.Args[2])
	must(err)
	events := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	opened := make([]jetstream.JetStream, connections)
	for i := range opened {
		connection, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(100), nats.ReconnectWait(100*time.Millisecond))
		must(err)
		for until := time.Now().Add(10 * time.Second); !connection.IsConnected() && time.Now().Before(until); {
			time.Sleep(20 * time.Millisecond)
		}
		opened[i], err = jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(inFlight))
		must(err)
	}
	within, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	_, err = opened[0].CreateOrUpdateStream(within, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}, Storage: jetstream.FileStorage})
	must(err)

	begin := time.Now()
	end := begin.Add(time.Duration(number(os.Args[5])) * time.Second)
	var waiting sync.WaitGroup
	took := make([][]float64, connections)
	for i := range opened {
		waiting.Add(1)
		go func(i int) {
			defer waiting.Done()
			// Of each event its future and when it was sent; answers come in order.
			type sent struct {
				future jetstream.PubAckFuture
				at     time.Time
			}
			var pending []sent
			take := func() {
				select {
				case <-pending[0].future.Ok():
				case err := <-pending[0].future.Err():
					must(err)
				case <-within.Done():
					must(within.Err())
				}
				took[i] = append(took[i], float64(time.Since(pending[0].at).Microseconds())/1000)
				pending = pending[1:]
			}
			for n := i; time.Now().Before(end); n += connections {
				at := time.Now()
				future, err := opened[i].PublishAsync("events", events[n%len(events)], jetstream.WithStallWait(30*time.Second))
				must(err)
				pending = append(pending, sent{future, at})
				if len(pending) >= inFlight {
					take()
				}
			}
			for len(pending) > 0 {
				take()
			}
		}(i)
	}
	waiting.Wait()
	seconds := time.Since(begin).Seconds()
	var all []float64
	for _, some := range took {
		all = append(all, some...)
	}
	sort.Float64s(all)
	fmt.Printf("{\"events_per_s\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", float64(len(all))/seconds, all[len(all)/2], all[len(all)*99/100])
}
