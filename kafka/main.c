/*
 * main.c
 *	  braid-kafka: sessions, one after the other, until there is nothing more to try.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker.h"
#include "log.h"
#include "server.h"
#include "session.h"
#include "stop.h"

#define FIRST_DELAY_MS 250
#define LAST_DELAY_MS 30000
#define REPORT_MS 60000

bool
session_fail(Session *s, Outcome outcome, const char *format, ...)
{
	char text[1536];
	va_list args;

	if (s->outcome != OUTCOME_NONE)
		return false;
	s->outcome = outcome;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (outcome != OUTCOME_STOP)
		log_line(outcome == OUTCOME_RETRY ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "%s", text);
	return false;
}

bool
session_goes_on(Session *s)
{
	if (stop_requested())
		session_fail(s, OUTCOME_STOP, "asked to end");
	return s->outcome == OUTCOME_NONE;
}

void
session_count(Session *s, int messages)
{
	int64_t now = stop_clock();

	s->messages += messages;
	s->batches++;
	if (s->reported == 0)
		s->reported = now;
	if (now - s->reported < REPORT_MS)
		return;
	log_line(LOG_LEVEL_INFO, "%lld messages in the last %lld s",
			 (long long) (s->messages - s->reported_messages),
			 (long long) (now - s->reported) / 1000);
	s->reported = now;
	s->reported_messages = s->messages;
}

static Outcome
run_sessions(const Options *options)
{
	bool accept = options->accept;
	int delay = FIRST_DELAY_MS;

	for (;;)
	{
		Session session = {.options = options, .accept = accept};

		if (options->out)
			outward_run(&session);
		else
			inward_run(&session);
		if (session.outcome != OUTCOME_RETRY)
			return session.outcome;
		accept = session.accept;
		if (session.batches > 0)
			delay = FIRST_DELAY_MS;
		stop_wait(-1, delay);
		if (stop_requested())
			return OUTCOME_STOP;
		delay = delay * 2 < LAST_DELAY_MS ? delay * 2 : LAST_DELAY_MS;
	}
}

int
main(int argc, char **argv)
{
	static Options options;

	options_read(&options, argc, argv);
	if (!server_check_dsn(options.dsn))
	{
		fputs("braid-kafka: the connection string cannot be parsed\n", stderr);
		return EXIT_USAGE;
	}
	broker_check_properties(&options);
	log_set_level(options.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	stop_install();
	log_line(LOG_LEVEL_INFO, "bridge \"%s\": topic \"%s\" %s Kafka's \"%s\"", options.name,
			 options.topic, options.out ? "to" : "from", options.kafka_topic);
	switch (run_sessions(&options))
	{
		case OUTCOME_DECISION:
			return EXIT_DECISION;
		case OUTCOME_FENCED:
			return EXIT_FENCED;
		default:
			log_line(LOG_LEVEL_INFO, "stopped");
			return EXIT_STOPPED;
	}
}
