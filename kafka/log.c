/*
 * log.c
 *	  Lines on standard error: time, process, level, text.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static LogLevel highest_level = LOG_LEVEL_INFO;

void
log_set_level(LogLevel highest)
{
	highest_level = highest;
}

/* One line, whatever the text has at its end or within. */
static void
flatten(char *text)
{
	size_t n = strlen(text);

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char) *p < ' ')
			*p = ' ';
}

void
log_line(LogLevel level, const char *format, ...)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	char text[2048];
	char when[32];
	struct timeval now;
	struct tm utc;
	va_list args;

	if (level > highest_level)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	flatten(text);
	gettimeofday(&now, NULL);
	gmtime_r(&now.tv_sec, &utc);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &utc);
	fprintf(stderr, "%s.%03d UTC [%d] %s: %s\n", when, (int) (now.tv_usec / 1000), (int) getpid(),
			names[level], text);
}
