-- The bot's tables as its ORM creates them, with the indices it has and without those it lacks
-- (issues.telegram_user_id has none, and no foreign key). Run as the bot's role, in its own database.

create table users (
    id serial primary key,
    telegram_id bigint not null,
    username varchar,
    user_type varchar not null,
    full_name varchar,
    phone varchar,
    contact_auth_code varchar,
    inn_company varchar,
    company_name varchar,
    service_object_name varchar,
    okdesk_contact_id integer,
    company_id integer,
    portal_token varchar,
    is_registered boolean,
    created_at timestamp,
    updated_at timestamp
);
create unique index ix_users_telegram_id on users (telegram_id);

create table issues (
    id serial primary key,
    telegram_user_id bigint not null,
    okdesk_issue_id integer not null,
    title varchar,
    status varchar not null,
    issue_number varchar,
    priority varchar,
    okdesk_url varchar,
    description text,
    rating_comment text,
    rating integer,
    telegram_message_id integer,
    rating_requested boolean,
    created_at timestamp,
    updated_at timestamp
);

create table comments (
    id serial primary key,
    issue_id integer not null,
    telegram_user_id bigint not null,
    content text,
    okdesk_comment_id integer,
    created_at timestamp
);
