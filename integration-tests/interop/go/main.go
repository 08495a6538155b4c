// Command interop has the two commands that every foreign client of the test suite has; see README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 30 * time.Second

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	switch args := os.Args[1:]; args[0] {
	case "produce":
		err = produce(ctx, args[1], args[2], args[3], args[4])
	case "consume":
		err = consume(ctx, args[1], args[2], args[3])
	case "group":
		err = group(ctx, args[1], args[2], args[3], args[4])
	default:
		err = fmt.Errorf("no command %q", args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func produce(ctx context.Context, bootstrap, topic, codec, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ProducerBatchCompression(codecs[codec]),
		kgo.DefaultProduceTopic(topic),
	)
	if err != nil {
		return err
	}
	defer client.Close()

	var records []*kgo.Record
	var at time.Time
	add := func(key, value []byte) {
		records = append(records, &kgo.Record{Key: key, Value: value, Timestamp: at, Headers: []kgo.RecordHeader{
			{Key: "client", Value: []byte("go")},
			{Key: "line", Value: []byte(strconv.Itoa(len(records)))},
		}})
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(content), "\n"), "\n") {
		var event struct {
			Network string
			Time    int64
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			return err
		}
		at = time.UnixMilli(event.Time)
		add([]byte(event.Network), []byte(line))
	}
	add([]byte("special-empty"), []byte{})
	add([]byte("special-null"), nil)
	add(nil, []byte("keyless"))
	return client.ProduceSync(ctx, records...).FirstErr()
}

func consume(ctx context.Context, bootstrap, topic, countText string) error {
	count, err := strconv.Atoi(countText)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()

	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for seen := 0; seen < count; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d of %d records: %w", seen, count, err)
		}
		for _, record := range fetches.Records() {
			if err := print(out, record); err != nil {
				return err
			}
			seen++
		}
	}
	return nil
}

func group(ctx context.Context, bootstrap, topic, name, countText string) error {
	count, err := strconv.Atoi(countText)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ConsumerGroup(name),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	)
	if err != nil {
		return err
	}
	defer client.Close()

	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for seen := 0; seen < count; {
		fetches := client.PollRecords(ctx, count-seen)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d of %d records: %w", seen, count, err)
		}
		records := fetches.Records()
		for _, record := range records {
			if err := print(out, record); err != nil {
				return err
			}
		}
		if err := client.CommitRecords(ctx, records...); err != nil {
			return err
		}
		seen += len(records)
	}
	return client.LeaveGroupContext(ctx)
}

func print(out *bufio.Writer, record *kgo.Record) error {
	headers := make([][]string, 0, len(record.Headers))
	for _, header := range record.Headers {
		headers = append(headers, []string{header.Key, string(header.Value)})
	}
	line, err := json.Marshal(map[string]any{
		"partition": record.Partition, "offset": record.Offset, "timestamp": record.Timestamp.UnixMilli(),
		"key": text(record.Key), "value": text(record.Value), "headers": headers,
	})
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

func text(value []byte) any {
	if value == nil {
		return nil
	}
	return string(value)
}
